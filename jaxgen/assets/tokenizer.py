"""Trains the embedded model's tokenizer: byte-level BPE of about 1,000 tokens, a token per digit.

    python -m jaxgen.assets.tokenizer

writes `jaxgen/assets/tiny/tokenizer.json` and `tokenizer_config.json`. `train.py` reads them; a new
tokenizer needs new weights. There is one special token, `<|endoftext|>`: it ends a document,
separates documents and pads. Encoding adds nothing, and any string comes back as it was. A space
before a digit is a token of its own, so `3 + 4 =` and `3 + 4 = ` both go on as they do in the
training text.
"""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from jaxgen.assets.corpus import documents

TINY = Path(__file__).parent / "tiny"
END = "<|endoftext|>"


def train(
    vocab_size: int = 1024, seed: int = 0, *, count: int = 20_000, context: int = 512
) -> PreTrainedTokenizerFast:
    """Learn the merges from the first `count` documents of the corpus.

    Args:
        vocab_size: at most this many tokens: the 256 bytes, the special token, and merges.
        seed: the corpus seed.
        count: how many documents to read.
        context: the model's context in tokens, written into the tokenizer's settings.

    Returns:
        The tokenizer in Hugging Face form; `<|endoftext|>` is id 0.
    """
    tokenizer = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    # Digits are cut apart first: else ` 12` could become one token, and each number would have
    # to be learnt by itself.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, words])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END],
        # All 256 bytes, also those that the corpus does not have: any prompt can be encoded.
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents(seed, count), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=END,
        model_max_length=context,
        # Else decoding would remove spaces before punctuation, and would not return the text.
        clean_up_tokenization_spaces=False,
    )


if __name__ == "__main__":
    train().save_pretrained(TINY)
