"""The KV caches: one protocol, one file each; `kinds.py` knows which cache serves which spec."""

from jaxgen.caches.kinds import create, kind, kv_layout, page_kernel
from jaxgen.caches.protocol import Cache

__all__ = ["Cache", "create", "kind", "kv_layout", "page_kernel"]
