"""The story of a run, from two composed arms to a result on disk and an exit code. No jax here."""
