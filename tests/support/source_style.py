"""Figures of how dense source code is: what a reader must hold in the head at once.

    python tests/support/source_style.py [FOLDER ...]

prints a table, one row a folder; without folders one row for each package of jaxgen.
"""

import ast
import dataclasses
import io
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

LONGEST_LINE = 100
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclasses.dataclass
class Style:
    """Sums over some files.

    Attributes:
        lines: of code; blank lines, comments and docstrings do not count.
        body_lines: of function bodies.
        body_nodes: syntax nodes of function bodies.
        comprehensions, nested_comprehensions: how many, and how many stand inside another.
        ternaries, nested_ternaries: conditional expressions, and those inside another.
        long_lines: lines of more than 100 characters, of any kind.
        all_lines: lines of any kind.
        comment_lines: lines that hold a comment.
    """

    lines: int = 0
    body_lines: int = 0
    body_nodes: int = 0
    comprehensions: int = 0
    nested_comprehensions: int = 0
    ternaries: int = 0
    nested_ternaries: int = 0
    long_lines: int = 0
    all_lines: int = 0
    comment_lines: int = 0

    def add(self, other: "Style") -> None:
        """Add the sums of other files to these."""
        for field in dataclasses.fields(self):
            own, more = getattr(self, field.name), getattr(other, field.name)
            setattr(self, field.name, own + more)

    @property
    def nodes_per_line(self) -> float:
        """Syntax nodes a line of function bodies."""
        return self.body_nodes / max(self.body_lines, 1)


def style_of(text: str) -> Style:
    """Measure one file."""
    tree = ast.parse(text)
    code = code_lines(text, tree)
    result = Style(lines=len(code))
    for function in outermost_functions(tree):
        body = body_of(function)
        result.body_nodes += sum(nodes(statement) for statement in body)
        if body:
            result.body_lines += sum(body[0].lineno <= line <= body[-1].end_lineno for line in code)
    inside = list(nested(tree, COMPREHENSIONS))
    result.comprehensions = len(inside)
    result.nested_comprehensions = sum(depth > 0 for _, depth in inside)
    inside = list(nested(tree, (ast.IfExp,)))
    result.ternaries = len(inside)
    result.nested_ternaries = sum(depth > 0 for _, depth in inside)
    lines = text.splitlines()
    result.all_lines = len(lines)
    result.long_lines = sum(len(line) > LONGEST_LINE for line in lines)
    result.comment_lines = len(comment_lines(text))
    return result


def code_lines(text: str, tree: ast.Module) -> list[int]:
    """Numbers of the lines with code; blank lines, comments and docstrings are left out."""
    documentation: set[int] = set()
    for node in ast.walk(tree):
        is_constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_constant and isinstance(node.value.value, str):
            documentation |= set(range(node.lineno, node.end_lineno + 1))
    numbered = enumerate(text.splitlines(), 1)
    return [
        number
        for number, line in numbered
        if line.strip() and not line.strip().startswith("#") and number not in documentation
    ]


def outermost_functions(node: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Functions and methods, but none that stands inside another function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, FUNCTIONS):
            yield child
        else:
            yield from outermost_functions(child)


def body_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.stmt]:
    """The statements behind the docstring."""
    return function.body[1:] if ast.get_docstring(function) is not None else function.body


def nodes(statement: ast.AST) -> int:
    """Syntax nodes of a statement, itself included."""
    return sum(1 for _ in ast.walk(statement))


def function_nodes(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Syntax nodes of a function's body."""
    return sum(nodes(statement) for statement in body_of(function))


def nested(node: ast.AST, kinds: tuple[type, ...], depth: int = 0) -> Iterator[tuple[ast.AST, int]]:
    """Every node of these kinds with how many others of them it stands in."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, kinds):
            yield child, depth
            yield from nested(child, kinds, depth + 1)
        else:
            yield from nested(child, kinds, depth)


def comment_lines(text: str) -> set[int]:
    """Numbers of the lines with a comment, a `noqa` alone not counted."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {
        token.start[0]
        for token in tokens
        if token.type == tokenize.COMMENT and not token.string.startswith("# noqa")
    }


def style_of_folder(folder: Path) -> Style:
    """Measure all Python files below a folder, or one file."""
    total = Style()
    for path in sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]:
        total.add(style_of(path.read_text(encoding="utf-8")))
    return total


def main(folders: list[str]) -> None:
    """Print the table."""
    package = Path(__file__).parents[2] / "jaxgen"
    rows = [Path(name) for name in folders] or [*sorted(package.iterdir()), package]
    heads = ("nodes/line", "compr/100", "nested", "ternary/100", "nested", "long %", "comment %")
    print(f"{'':<24}" + "".join(f"{head:>12}" for head in ("lines", *heads)))
    for path in rows:
        if path.is_dir() or path.suffix == ".py":
            style = style_of_folder(path)
            if style.lines:
                print(f"{path.name:<24}" + "".join(f"{cell:>12}" for cell in cells(style)))


def cells(style: Style) -> list[str]:
    """The figures of one row of the table."""
    return [
        str(style.lines),
        f"{style.nodes_per_line:.1f}",
        f"{100 * style.comprehensions / style.lines:.1f}",
        str(style.nested_comprehensions),
        f"{100 * style.ternaries / style.lines:.1f}",
        str(style.nested_ternaries),
        f"{100 * style.long_lines / style.all_lines:.1f}",
        f"{100 * style.comment_lines / style.all_lines:.1f}",
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
