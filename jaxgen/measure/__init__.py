"""How a run is measured and judged: which arm goes when, what the samples say, and which verdict
they allow.

The modules here that decide (`schedule`, `statistics`, `verdict`) are arithmetic over plain
numbers and know nothing of jax, so that the parent process can import them without touching a
device, and a test can hand them a simulated machine whose truth is known.
"""
