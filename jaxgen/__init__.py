"""Warmed, paired, checked A/B runs of transformer language models in JAX, composed with Hydra."""

import importlib.metadata

try:
    __version__ = importlib.metadata.version("jaxgen")
except importlib.metadata.PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+checkout"
