"""What an experiment is made of, as frozen dataclasses of plain values.

Nothing here imports jax, hydra or any other floor: the specs are the schema that the command line
is checked against, the message that a worker is started with, and the key that a result is found
by.
"""
