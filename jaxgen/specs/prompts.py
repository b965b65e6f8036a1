"""What the model is asked (`prompts=`)."""

import dataclasses

from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Builtin:
    """The short prompts that ship with jaxgen.

    Attributes:
        count: the first so many of them; null takes all.
    """

    count: int | None = None

    def __post_init__(self):
        if self.count is not None and self.count < 1:
            raise UserError(f"prompts.count={self.count} must be 1 or more, or null for all")


@dataclasses.dataclass(frozen=True)
class Text:
    """Prompts from the command line or from a text file with one prompt a line.

    Attributes:
        text: one prompt or a list of them; goes before `path`.
        path: a UTF-8 file; empty lines are skipped.
    """

    text: tuple[str, ...] | None = None
    path: str | None = None

    def __post_init__(self):
        if self.text is not None:
            # One prompt becomes a list of one, so that whoever reads the spec meets one kind.
            is_list = isinstance(self.text, list | tuple)
            texts = tuple(self.text) if is_list else (self.text,)
            object.__setattr__(self, "text", texts)
        if not self.text and not self.path:
            raise UserError(
                "prompts=text has no prompt: set prompts.text='...' or prompts.path=FILE"
            )
        # YAML reads an unquoted 7 as a number, of which nobody would know how it was written.
        for number, prompt in enumerate(self.text or ()):
            if not isinstance(prompt, str) or not prompt:
                raise UserError(
                    f"prompts.text[{number}]={prompt!r} is not a prompt: "
                    "each must be a text, not empty; "
                    "a number needs quotes of its own, \"prompts.text='7'\""
                )


@dataclasses.dataclass(frozen=True)
class Jsonl:
    """Prompts from a jsonl file.

    Attributes:
        path: each line `{"prompt": "..."}` or `{"tokens": [...]}`; with `"max_new_tokens": N` that
            prompt's text ends after so many, if `workload.max_new_tokens` does not end it before.
    """

    path: str | None = None

    def __post_init__(self):
        if not self.path:
            raise UserError("prompts=jsonl has no file: set prompts.path=FILE")


@dataclasses.dataclass(frozen=True)
class Synthetic:
    """Seeded random token ids: for speed on shapes of one's choice.

    Lengths between two numbers are drawn log-uniformly, as many between 16 and 32 as between 256
    and 512: texts that people send are mostly short, and a few are long.

    Attributes:
        count: how many prompts.
        length: tokens in each, or the fewest.
        max_length: the most; null makes all of one length.
        new_tokens: written for each prompt, or the fewest, if `workload.max_new_tokens` does not
            end it before; null leaves it to that.
        max_new_tokens: the most.
        shared: tokens that all prompts begin with, counted within their lengths.
        seed: of the ids and lengths.
    """

    count: int = 1
    length: int = 16
    max_length: int | None = None
    new_tokens: int | None = None
    max_new_tokens: int | None = None
    shared: int = 0
    seed: int = 0

    def __post_init__(self):
        problems = []
        for key in ("count", "length", "max_length", "new_tokens", "max_new_tokens"):
            value = getattr(self, key)
            if value is not None and value < 1:
                problems.append(f"prompts.{key}={value} must be 1 or more")
        for least, most in (("length", "max_length"), ("new_tokens", "max_new_tokens")):
            low = getattr(self, least)
            high = getattr(self, most)
            if high is None:
                continue
            # `max_new_tokens` alone would be a range without a beginning; `length` always has one.
            if low is None or high < low:
                problems.append(f"prompts.{most}={high} needs a prompts.{least} that is no more")
        # Of a length of 0 or less it has been said already that it is none.
        if not 0 <= self.shared < max(self.length, 1):
            problems.append(
                f"prompts.shared={self.shared} must be 0 or more and "
                f"below prompts.length={self.length}"
            )
        if problems:
            raise UserError.collected("impossible prompts", problems)


@dataclasses.dataclass(frozen=True)
class Arc:
    """Tasks in ARC-AGI's format.

    The answers are parsed back, and scored by exact match of the grid.

    Attributes:
        path: a folder of .json files, searched to the bottom, or one such file.
        count: the first so many of those that are short enough; null takes all.
        max_tokens: longer prompts are left out, and counted; null keeps all, and the model's
            context must hold them.
    """

    path: str | None = None
    count: int | None = None
    max_tokens: int | None = None

    def __post_init__(self):
        if not self.path:
            raise UserError("prompts=arc has no tasks: set prompts.path=FOLDER")
        for key in ("count", "max_tokens"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise UserError(f"prompts.{key}={value} must be 1 or more, or null for all")


PromptsSpec = Builtin | Text | Jsonl | Synthetic | Arc
