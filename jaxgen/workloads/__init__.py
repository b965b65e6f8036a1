"""Floor 5: what is executed in a trial, and what is reported of it."""
