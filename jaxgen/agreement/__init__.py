"""Whether two arms' outputs agree, and what rounding may explain. No jax here."""
