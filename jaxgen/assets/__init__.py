"""The embedded model `tiny`, the text it learnt from, and the scripts that made it."""
