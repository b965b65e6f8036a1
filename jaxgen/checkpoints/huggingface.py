"""Finds a Hugging Face model: a folder, one that ships with jaxgen (`package:tiny`), or a hub id.

Only configuration, tokenizer and safetensors files are ever fetched or read: pickles can run code,
so they are refused.
"""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

from jaxgen.errors import UserError

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)
CONFIG = "config.json"
GENERATION = "generation_config.json"
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"

_PACKAGE = "package:"
_ASSETS = Path(__file__).parents[1] / "assets"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9_][\w.-]*)?")
_HUB_TIMEOUT_S = 5.0


@dataclasses.dataclass(frozen=True)
class Folder:
    """A Hugging Face model on disk.

    Attributes:
        path: absolute.
        source: what the user called it.
        revision: the hub's commit; null for a folder that did not come from the hub.
    """

    path: Path
    source: str
    revision: str | None = None

    def json(self, name: str) -> dict[str, Any]:
        """Read one of its JSON files, which has to be an object."""
        path = self.path / name
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise UserError(
                f"{self.source}: there is no {name} in {self.path}; a Hugging Face model has one"
            ) from error
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.source}: {path} cannot be read ({error}); download the model again"
            ) from error
        if not isinstance(value, dict):
            raise UserError(f"{self.source}: {path} is not a JSON object; download the model again")
        return value

    def json_if_there(self, name: str) -> dict[str, Any]:
        """Read a JSON file as `json` does; empty where there is no such file."""
        if not (self.path / name).exists():
            return {}
        return self.json(name)


def locate(source: str) -> Folder:
    """Return the folder of a source.

    Args:
        source: `package:NAME`, a folder (relative to the working directory), or a hub id such as
            `Qwen/Qwen3-0.6B`, which is downloaded into Hugging Face's cache unless it is there;
            HF_HUB_OFFLINE=1 is respected.

    Raises:
        UserError: there is no such folder, and no such model on the hub or no way to it.
    """
    if not source.strip():
        raise UserError(
            "the source is empty; give a Hugging Face folder or a hub id such as Qwen/Qwen3-0.6B"
        )
    if source.startswith(_PACKAGE):
        return _in_package(source)
    # A folder goes before a hub id of the same spelling.
    path = Path(source).expanduser()
    if path.is_dir():
        return Folder(path.resolve(), source)
    if path.exists():
        raise UserError(
            f"{source} is a file; give the folder that holds config.json and *.safetensors"
        )
    if not _HUB_ID.fullmatch(source):
        raise UserError(
            f"{source}: there is no such folder; give a Hugging Face folder or a hub id such as "
            "Qwen/Qwen3-0.6B"
        )
    return _from_hub(source)


def local(source: str) -> Path | None:
    """Return the folder of a source that needs no hub, whatever it holds; null for others."""
    if source.startswith(_PACKAGE):
        path = _ASSETS / source.removeprefix(_PACKAGE)
    else:
        path = Path(source).expanduser()
    if path.is_dir():
        return path.resolve()
    return None


def _in_package(source: str) -> Folder:
    name = source.removeprefix(_PACKAGE)
    shipped = sorted(path.parent.name for path in _ASSETS.glob(f"*/{CONFIG}"))
    if name not in shipped:
        names = ", ".join(shipped) or "none"
        raise UserError(f"{source}: jaxgen ships no such model, only {names}")
    return Folder(_ASSETS / name, source)


def _from_hub(source: str) -> Folder:
    """Ask the hub for the newest commit, briefly, and download it.

    Where the hub does not answer, what was downloaded before will do.
    """
    # Only here: a folder or a shipped model needs no hub, and no import of its library.
    import huggingface_hub
    from huggingface_hub.errors import RepositoryNotFoundError

    unreachable = None
    try:
        revision = huggingface_hub.HfApi().model_info(source, timeout=_HUB_TIMEOUT_S).sha
    except RepositoryNotFoundError as error:
        raise UserError(
            f"{source}: there is neither such a folder nor such a model on the hub (or it is "
            "private, or its licence has to be accepted: log in with `hf auth login`)"
        ) from error
    # Whatever the HTTP library raises: no name, no route, no answer, offline mode.
    except Exception as error:
        revision, unreachable = None, error
    try:
        # By commit and not by branch, which may move on while its files are fetched.
        path = huggingface_hub.snapshot_download(
            source,
            revision=revision,
            allow_patterns=[CONFIG, GENERATION, *TOKENIZER_FILES, "*.safetensors", INDEX],
            ignore_patterns=["*/*"],  # folders hold the same weights for other libraries
            etag_timeout=_HUB_TIMEOUT_S,
            local_files_only=unreachable is not None,
        )
    except Exception as error:
        raise UserError(_hub_failure(source, unreachable or error)) from error
    # A snapshot's folder is named after its commit: it is known offline, too.
    return Folder(Path(path), source, revision=Path(path).name)


def _hub_failure(source: str, error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled

    if isinstance(error, GatedRepoError):
        return (
            f"{source}: its licence has to be accepted on the hub first; then log in with "
            "`hf auth login`"
        )
    if isinstance(error, OfflineModeIsEnabled):
        reason = "HF_HUB_OFFLINE is set"
    else:
        words = str(error).split()
        line = " ".join(words)[:160]
        reason = f"{type(error).__name__}: {line}"
    return (
        f"{source}: there is no such folder, the hub did not deliver one ({reason}), and Hugging "
        "Face's cache holds no complete copy; download it on a machine with a network and give "
        "the folder, or set model.weights=random"
    )
