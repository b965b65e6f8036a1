"""Text to token ids and back, through the checkpoint's own tokenizer.json."""

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from jaxgen.errors import UserError


class Codec:
    """Encodes prompts and decodes completions.

    Random weights have no tokenizer: texts then become their UTF-8 bytes as ids, and nothing is decoded.

    Attributes:
        tokenizer: null for bytes.
        vocab_size: ids are kept below it.
    """

    def __init__(self, tokenizer: Path | None, *, vocab_size: int, random: bool):
        self.tokenizer = Tokenizer.from_file(str(tokenizer)) if tokenizer else None
        self.vocab_size = vocab_size
        self._bytes_allowed = random

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, with the special tokens that the tokenizer puts around it.

        Raises:
            UserError: the checkpoint has no tokenizer.
        """
        if self.tokenizer is not None:
            return self.tokenizer.encode(text).ids
        if not self._bytes_allowed:
            raise UserError(
                "the checkpoint has no tokenizer.json, so text prompts cannot be read; "
                'use prompts=synthetic, or prompts=jsonl with {"tokens": [...]} lines'
            )
        return [byte % self.vocab_size for byte in text.encode()]

    def decode(self, tokens: Sequence[int]) -> str | None:
        """The text of some ids, special tokens left out; null without a tokenizer."""
        if self.tokenizer is None:
            return None
        return self.tokenizer.decode(list(tokens), skip_special_tokens=True)
