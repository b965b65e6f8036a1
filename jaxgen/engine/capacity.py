"""How many slots a row of the cache needs, or why there are not enough."""

from collections.abc import Sequence

from jaxgen.errors import UserError
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.cache import CacheSpec

LEAST_WIDTH = 16
"""Single prompts are padded to this times a power of two: few widths, few programs."""


def smallest_bucket(needed: int, buckets: Sequence[int], *, key: str, what: str) -> int:
    """Return the smallest bucket that holds `needed`.

    Args:
        needed: tokens or rows.
        buckets: ascending.
        key: of the workload, for the message.
        what: does not fit, for the message.

    Raises:
        UserError: none does. No other shape is compiled: serving it would put a compile into the
            clock.
    """
    # Ascending, so the first that holds it is the smallest.
    for size in buckets:
        if size >= needed:
            return size
    raise UserError(
        f"{what} does not fit the largest of workload.{key}={list(buckets)}; add {needed} or more "
        "to it"
    )


def capacity_for(
    prompts: Sequence[Sequence[int]],
    *,
    new_tokens: int,
    cache: CacheSpec,
    architecture: Architecture,
    limits: Sequence[int] = (),
    token_buckets: Sequence[int] = (),
    depths: Sequence[int] = (),
) -> int:
    """Return the slots that each row of the cache needs.

    They are for these prompts, or for the largest bucket.

    Args:
        prompts: token ids.
        new_tokens: the most per row.
        cache: its spec.
        architecture: of the model.
        limits: the most for each prompt, where they differ.
        token_buckets: of the workload.
        depths: the numbers that the user gave instead of prompts of such lengths, if any: messages
            name them.

    Raises:
        UserError: no or empty prompts, ids out of range, a sequence longer than the model's context
            or `cache.max_len`.
    """
    _check_tokens(prompts, architecture)
    longest = max(len(prompt) for prompt in prompts)
    if token_buckets:
        what = f"a prompt of {longest} tokens"
        smallest_bucket(longest, token_buckets, key="token_buckets", what=what)
        # The cache has room for the largest bucket, so that every bucket finds its programs.
        longest = token_buckets[-1]
    elif limits:
        # The row that becomes longest is not always that of the longest prompt.
        lengths = zip(map(len, prompts), limits, strict=True)
        longest, new_tokens = max(lengths, key=sum)
    needed = longest + new_tokens
    tokens, cure = _in_words(longest, token_buckets, depths)
    if needed > architecture.context:
        room = architecture.context - longest
        shorter = f" or lower workload.max_new_tokens to {room} or less" if room > 0 else ""
        raise UserError(
            f"{tokens} + workload.max_new_tokens={new_tokens} exceed the model's context of "
            f"{architecture.context}; {cure}{shorter}"
        )
    # The cache rounds up; only a length that the user has set may be too small.
    capacity = cache.capacity(needed)
    if capacity < needed:
        raise UserError(
            f"cache.max_len={capacity} cannot hold {tokens} + {new_tokens} new ones; raise it to "
            f"{needed} or more"
        )
    return capacity


def padded_width(tokens: int, *, limit: int) -> int:
    """Return the width that a single prompt is padded to.

    It is `LEAST_WIDTH` times a power of two, at most `limit`.

    Example:
        >>> [padded_width(tokens, limit=100) for tokens in (1, 16, 17, 33, 80)]
        [16, 16, 32, 64, 100]
    """
    # Doubling wastes at most half of a prompt and needs a program only for each power of two.
    width = LEAST_WIDTH
    while width < tokens:
        width *= 2
    return min(width, limit)


def _in_words(
    longest: int,
    token_buckets: Sequence[int],
    depths: Sequence[int],
) -> tuple[str, str]:
    """What so many tokens are to the user, and how there would be fewer."""
    for key, values in (
        ("token_buckets", token_buckets),
        ("depths", depths),
    ):
        if values:
            tokens = f"the {longest} tokens of workload.{key}={list(values)}"
            return tokens, "leave its last number out"
    return f"{longest} prompt tokens", "shorten the prompt"


def _check_tokens(prompts: Sequence[Sequence[int]], architecture: Architecture) -> None:
    """Collect all that is wrong with the prompts, so that the user mends it in one go."""
    vocab_size = architecture.vocab_size
    problems = [] if prompts else ["there are none"]
    # jax reports no index that is out of range, so it has to be found here.
    for number, prompt in enumerate(prompts):
        if not prompt:
            problems.append(f"prompt {number} is empty")
        outside = []
        for token in prompt:
            if not 0 <= token < vocab_size:
                outside.append(token)
        if outside:
            problems.append(
                f"prompt {number} has token id {outside[0]}, outside the vocabulary of "
                f"{vocab_size} (0 to {vocab_size - 1})"
            )
    if problems:
        raise UserError.collected("prompts cannot be used", problems)
