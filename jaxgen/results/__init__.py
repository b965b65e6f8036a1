"""The files of a run folder: one schema, one reader, one writer. No jax here."""
