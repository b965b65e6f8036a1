"""What two answers say where they part, short enough for a report."""

from collections.abc import Mapping, Sequence

WIDTH, BEFORE = 40, 12  # characters: in all, and of them before the difference
TOKENS, TOKENS_BEFORE = 8, 3  # the same in tokens, where there is no text


def excerpts(candidate: Mapping, baseline: Mapping, position: int) -> dict[str, str]:
    """Return both texts around their first difference.

    Token ids stand in for them where there is no text, or the texts do not show the difference.

    Args:
        candidate, baseline: rows of the outputs, with `tokens` and perhaps `text`.
        position: of the first token that differs.
    """
    ours, theirs = candidate.get("text"), baseline.get("text")
    # Texts can be equal though tokens differ: special tokens are left out of the text.
    if ours is None or theirs is None or ours == theirs:
        start = max(position - TOKENS_BEFORE, 0)
        return {
            "candidate": _ids(candidate["tokens"], start),
            "baseline": _ids(baseline["tokens"], start),
        }
    start = max(_first_difference(str(ours), str(theirs)) - BEFORE, 0)
    return {"candidate": _cut(str(ours), start), "baseline": _cut(str(theirs), start)}


def _first_difference(ours: str, theirs: str) -> int:
    """Return the first place that differs; the shorter one's end where one begins the other."""
    shorter = min(len(ours), len(theirs))
    for place in range(shorter):
        if ours[place] != theirs[place]:
            return place
    return shorter


def _cut(text: str, start: int) -> str:
    end = start + WIDTH
    before = "…" if start > 0 else ""
    after = "…" if end < len(text) else ""
    return f"{before}{text[start:end]}{after}"


def _ids(tokens: Sequence[int], start: int) -> str:
    """Write some token ids, for instance `tokens … 7 21 4 5`."""
    end = start + TOKENS
    shown = [str(token) for token in tokens[start:end]]
    if start > 0:
        shown.insert(0, "…")
    if end < len(tokens):
        shown.append("…")
    return f"tokens {' '.join(shown)}"
