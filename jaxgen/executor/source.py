"""Workers that run another commit's code (`process.source`): whether this process can drive them.

Nothing of that code is imported here: its command table and its specs are read from the source. A
worker is driven if it has every command of this jaxgen, with the same arguments, and the same
number of `worker.requests.PROTOCOL`.
"""

import ast
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgen.errors import UserError
from jaxgen.specs.codec import spec_to_plain
from jaxgen.specs.run import Process, Run

_OWN_PACKAGE = Path(__file__).resolve().parents[1]

Fields = Mapping[str, bool]
"""Names of a dataclass's fields, and whether each has a default."""


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What the workers of one source understand.

    Attributes:
        version: its `PROTOCOL`; the time before there was one counts as 1.
        commands: the arguments of each command.
        specs: the fields of each spec class.
    """

    version: int
    commands: Mapping[str, Fields]
    specs: Mapping[str, Fields]


def package_of(process: Process) -> Path:
    """Return the folder of the package that a worker runs, checked that it can be driven.

    Raises:
        UserError: `process.source` is no checkout of jaxgen, or is too far from this one.
    """
    if process.source is None:
        return _OWN_PACKAGE
    package = Path(process.source).expanduser().resolve() / "jaxgen"
    if not (package / "__init__.py").is_file():
        raise UserError(
            f"process.source={process.source} has no jaxgen/__init__.py; give the root of a "
            "checkout of jaxgen, or null for the code that runs here"
        )
    problems = _problems(protocol_of(_OWN_PACKAGE), protocol_of(package))
    if problems:
        raise UserError.collected(
            f"process.source={process.source} is too old or too new to be driven by this jaxgen",
            problems,
        )
    return package


def plain_run(run: Run) -> dict[str, Any]:
    """Write a run as the message that its worker loads it by, whichever source the worker runs.

    Keys that the source does not have are left out where they have their defaults.

    Raises:
        UserError: a key is set that the source does not have.
    """
    source = run.process.source
    if source is None:
        return spec_to_plain(run)
    # Where its code lies is of no use to the worker, and an older one does not know the key.
    run = dataclasses.replace(run, process=dataclasses.replace(run.process, source=None))
    plain = spec_to_plain(run)
    specs = protocol_of(Path(source).expanduser().resolve() / "jaxgen").specs
    unknown = _leave_out_unknown(run, plain, specs)
    if unknown:
        keys = ", ".join(unknown)
        raise UserError(f"process.source={source} does not have {keys}; leave it out for both arms")
    return plain


def protocol_of(package: Path) -> Protocol:
    """Read a source's protocol.

    Args:
        package: its folder `jaxgen`.
    """
    requests = _tree(package / "worker" / "requests.py")
    arguments = _fields_of_classes(requests)
    version = _assigned(requests, "PROTOCOL")
    commands = {}
    table = _assigned(_tree(package / "worker" / "commands.py"), "COMMANDS")
    if isinstance(table, ast.Dict):
        for name, row in zip(table.keys, table.values, strict=True):
            if isinstance(name, ast.Constant):
                commands[str(name.value)] = arguments.get(_request_of(row), {})
    specs: dict[str, Fields] = {}
    for path in sorted((package / "specs").glob("*.py")):
        specs |= _fields_of_classes(_tree(path))
    number = version.value if isinstance(version, ast.Constant) else 1
    return Protocol(int(str(number)), commands, specs)


def _problems(own: Protocol, other: Protocol) -> list[str]:
    """List what a worker of the other source would not understand."""
    if not other.commands:
        return ["its workers have no table of commands (jaxgen/worker/commands.py)"]
    problems = []
    if other.version != own.version:
        problems.append(f"its PROTOCOL is {other.version}, and this one's {own.version}")
    for name, arguments in own.commands.items():
        others = other.commands.get(name)
        if others is None:
            problems.append(f"its workers have no command {name}")
            continue
        unknown = [argument for argument in arguments if argument not in others]
        for argument, has_default in others.items():
            if argument not in arguments and not has_default:
                unknown.append(argument)
        if unknown:
            problems.append(f"its command {name} differs in {', '.join(unknown)}")
    return problems


def _leave_out_unknown(
    spec: Any, plain: dict[str, Any], specs: Mapping[str, Fields], path: str = ""
) -> list[str]:
    """Remove from a message what the other source's class lacks; return the keys that are set."""
    known = specs.get(type(spec).__name__)
    if known is None:
        return [path.rstrip(".")]
    unknown = []
    for field in dataclasses.fields(spec):
        key, value = f"{path}{field.name}", getattr(spec, field.name)
        if field.name in known:
            if dataclasses.is_dataclass(value):
                unknown += _leave_out_unknown(value, plain[field.name], specs, f"{key}.")
        elif value == field.default:
            # The older code does what the default says: it knows nothing else.
            del plain[field.name]
        else:
            unknown.append(key)
    return unknown


def _tree(path: Path) -> ast.Module:
    """Parse a file; an empty module where there is none, as in a source of another layout."""
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return ast.Module([], [])


def _assigned(tree: ast.Module, name: str) -> ast.expr | None:
    """Return what is assigned to a name at the top of a module."""
    for statement in tree.body:
        targets: list[ast.expr] = []
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        else:
            continue
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return statement.value
    return None


def _request_of(row: ast.expr) -> str:
    """Return the class of a command's arguments: the first `requests.X` of its row."""
    for node in ast.walk(row):
        if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
            continue
        if node.value.id == "requests":
            return node.attr
    return ""


def _fields_of_classes(tree: ast.Module) -> dict[str, Fields]:
    classes = {}
    for statement in tree.body:
        if not isinstance(statement, ast.ClassDef):
            continue
        fields = {}
        for line in statement.body:
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                fields[line.target.id] = line.value is not None
        classes[statement.name] = fields
    return classes
