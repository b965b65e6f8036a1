"""One decoder for all families.

NNX ends here: what leaves is a graph definition and a tuple of leaves.
"""
