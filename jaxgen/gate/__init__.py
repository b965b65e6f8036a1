"""The comparison of a result with a stored one, which fails where the candidate became slower. No jax here."""
