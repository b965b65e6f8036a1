"""The prompts of `prompts=builtin`: one for each thing that the embedded model `tiny` has learnt.

No document of the training corpus contains one of them (`jaxgen/assets/corpus.py` leaves such
documents out), and the two open sums are among the held-out ones, so that a right answer was worked
out and not remembered. They are of different lengths in tokens on purpose: batching has to pad
them.
"""

BUILTIN: tuple[str, ...] = (
    "One windy morning Nora took her blue kite",
    "Ruby has 12 pears. She gets 5 more. Now she has",
    "grid flip\n1 0 2\n0 3 0\n4 0 5\nanswer\n",
    "6 + 3 = 9\n15 - 4 = 11\n2 + 18 = 20\n13 + 14 =",
)
"""Prompts of 8 to 40 tokens with the embedded tokenizer.

They are a story opening, a word sum, a grid puzzle and a list of sums.
"""
