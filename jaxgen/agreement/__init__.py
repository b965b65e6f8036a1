"""How the outputs of two arms compare: tokens, scores, and log-probabilities of teacher-forced tokens. No jax here."""
