"""The gate: it fails a run whose candidate became slower than a stored one. No jax here."""
