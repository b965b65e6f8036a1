"""Text to token ids and back, through the checkpoint's own tokenizer.json."""

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from jaxgen.errors import UserError


class Codec:
    """Encodes prompts and decodes completions.

    Random weights have no tokenizer: texts then become their UTF-8 bytes as ids, and nothing is
    decoded.

    Attributes:
        tokenizer: null for bytes.
        vocab_size: ids are kept below it.
    """

    def __init__(
        self,
        tokenizer: Path | None,
        *,
        vocab_size: int,
        random: bool,
    ):
        self.tokenizer = _read(tokenizer) if tokenizer else None
        self.vocab_size = vocab_size
        self._bytes_allowed = random

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text, with the special tokens that the tokenizer adds.

        Raises:
            UserError: the checkpoint has no tokenizer, or the text is none (half of a surrogate
                pair).
        """
        try:
            # Half of a surrogate pair is a character in Python and no text for any tokenizer.
            utf8 = text.encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"the prompt {text[:60]!r} is no Unicode text: {error.reason}"
            ) from None
        if self.tokenizer is not None:
            return self.tokenizer.encode(text).ids
        if not self._bytes_allowed:
            raise UserError(
                "the checkpoint has no tokenizer.json, so text prompts cannot be read; "
                'use prompts=synthetic, or prompts=jsonl with {"tokens": [...]} lines'
            )
        # Random weights make no sense of any text, but the same text has the same ids in every arm.
        return [byte % self.vocab_size for byte in utf8]

    def decode(self, tokens: Sequence[int]) -> str | None:
        """Return the text of token ids, special tokens left out; null without a tokenizer."""
        if self.tokenizer is None:
            return None
        return self.tokenizer.decode(list(tokens), skip_special_tokens=True)


def _read(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more exact
        raise UserError(
            f"{path} is no tokenizer that can be read ({error}); convert the model again"
        ) from error
