"""Copies a model's tokenizer into its checkpoint; makes tokenizer.json from the older files."""

import shutil
from pathlib import Path

from jaxgen.checkpoints.huggingface import GENERATION, TOKENIZER_FILES, Folder
from jaxgen.errors import UserError

TOKENIZER = "tokenizer.json"
_OLDER = ("vocab.json", "merges.txt")


def copy(folder: Folder, into: Path) -> None:
    """Copy the tokenizer's files into a folder that exists; a model without a tokenizer is fine.

    Args:
        folder: of the Hugging Face model.
        into: the checkpoint.

    Raises:
        UserError: vocab.json and merges.txt are there, but do not make a tokenizer.
    """
    for name in (GENERATION, *TOKENIZER_FILES):
        file = folder.path / name
        # The older pair stays behind: it says again what tokenizer.json says, copied or made of it.
        if name not in _OLDER and file.is_file():
            shutil.copyfile(file, into / name)
    has_older = all((folder.path / name).is_file() for name in _OLDER)
    if has_older and not (into / TOKENIZER).exists():
        _make(folder, into / TOKENIZER)


def _make(folder: Folder, path: Path) -> None:
    """Make tokenizer.json from vocab.json and merges.txt.

    The family decides how text is split before merging, which only transformers' own class knows.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder.path, local_files_only=True, trust_remote_code=False
        )
        tokenizer.backend_tokenizer.save(str(path))
    except Exception as error:  # damaged files raise whatever their parser raises
        words = str(error).split()
        reason = " ".join(words)[:160]
        files = " and ".join(_OLDER)
        raise UserError(f"{folder.source}: {files} make no tokenizer ({reason})") from error
