"""Takes a model's tokenizer into its checkpoint; makes tokenizer.json where a model has only the older files."""

import shutil
from pathlib import Path

from jaxgen.checkpoints.huggingface import GENERATION, TOKENIZER_FILES, Folder
from jaxgen.errors import UserError

TOKENIZER = "tokenizer.json"
_OLDER = ("vocab.json", "merges.txt")


def copy(folder: Folder, into: Path) -> None:
    """Copy the tokenizer's files into a folder that exists; a model without a tokenizer is fine.

    Raises:
        UserError: vocab.json and merges.txt are there, but do not make a tokenizer.
    """
    for name in (GENERATION, *TOKENIZER_FILES):
        if name not in _OLDER and (folder.path / name).is_file():
            shutil.copyfile(folder.path / name, into / name)
    if not (into / TOKENIZER).exists() and all((folder.path / name).is_file() for name in _OLDER):
        _make(folder, into / TOKENIZER)


def _make(folder: Folder, path: Path) -> None:
    """The family decides how text is split before merging, which only transformers' own class knows."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder.path, local_files_only=True, trust_remote_code=False
        )
        tokenizer.backend_tokenizer.save(str(path))
    except Exception as error:  # damaged files raise whatever their parser raises
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"{folder.source}: {' and '.join(_OLDER)} make no tokenizer ({reason})"
        ) from error
