"""Warmed, paired, checked A/B runs of transformer language models in JAX, composed with Hydra.

In Python, `run` measures as the command line does; `load` gives one arm's model to generate and
score with:

    >>> import jaxgen
    >>> jaxgen.run("cache=fixed", "measure=quick").verdict  # takes a minute  # doctest: +SKIP
    'faster'
    >>> engine = jaxgen.load("cache=fixed")
    >>> engine.score("I pledge allegiance", [" to the flag"], labels=[" to", " of", " for"])
    [[7.77...e-05, 0.00016..., 0.00238...]]
"""

import importlib.metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxgen.api.load import Completion, Engine, Likelihood, UserError, load
    from jaxgen.api.run import Result, run

_MEASURING = ("Result", "run")
__all__ = [
    "Completion",
    "Engine",
    "Likelihood",
    "Result",
    "UserError",
    "__version__",
    "load",
    "run",
]

try:
    __version__ = importlib.metadata.version("jaxgen")
except importlib.metadata.PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+checkout"


def __getattr__(name: str) -> Any:
    """Import a part of the API when it is used for the first time."""
    # The process that starts a measurement must stay without jax, which `load` needs.
    if name in _MEASURING:
        from jaxgen.api import run

        return getattr(run, name)
    if name in __all__:
        from jaxgen.api import load

        return getattr(load, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
