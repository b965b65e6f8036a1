"""What two answers say where they part, short enough for a report."""

from collections.abc import Mapping, Sequence

WIDTH, BEFORE = 40, 12  # characters: in all, and of them before the difference
TOKENS, TOKENS_BEFORE = 8, 3  # the same in tokens, where there is no text


def excerpts(candidate: Mapping, baseline: Mapping, position: int) -> dict[str, str]:
    """Both texts around their first difference; token ids where they have no text or the texts do not show it.

    Args:
        candidate, baseline: rows of the outputs, with `tokens` and perhaps `text`.
        position: of the first token that differs.
    """
    texts = {"candidate": candidate.get("text"), "baseline": baseline.get("text")}
    if None in texts.values() or len(set(texts.values())) == 1:
        start = max(position - TOKENS_BEFORE, 0)
        tokens = {"candidate": candidate["tokens"], "baseline": baseline["tokens"]}
        return {arm: _ids(ids, start) for arm, ids in tokens.items()}
    letters = list(zip(*map(str, texts.values()), strict=False))  # one may be the other's beginning
    first = next(
        (place for place, (ours, theirs) in enumerate(letters) if ours != theirs), len(letters)
    )
    start = max(first - BEFORE, 0)
    return {arm: _cut(str(text), start) for arm, text in texts.items()}


def _cut(text: str, start: int) -> str:
    return f"{'…' * (start > 0)}{text[start : start + WIDTH]}{'…' * (start + WIDTH < len(text))}"


def _ids(tokens: Sequence[int], start: int) -> str:
    """For instance `tokens … 7 21 4 5`."""
    shown = [
        *(["…"] * (start > 0)),
        *tokens[start : start + TOKENS],
        *(["…"] * (start + TOKENS < len(tokens))),
    ]
    return f"tokens {' '.join(map(str, shown))}"
