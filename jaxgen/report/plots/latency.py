"""Where the time of a call goes: prefill up to the first token, and decoding after it."""

from collections.abc import Sequence

from jaxgen.report.lookup import median_of
from jaxgen.report.plots import bars
from jaxgen.report.plots.bars import Bar, Parts, seconds_in_words
from jaxgen.report.plots.drawing import Drawing, LeftOut
from jaxgen.report.plots.shown_arms import shown_arms
from jaxgen.report.points import Point
from jaxgen.results.schema import ArmResult

_SUBJECT = "latency split"


def draw(points: Sequence[Point], *, name: str) -> Drawing | LeftOut:
    """Draw a bar for each arm.

    Args:
        points: those of the report.
        name: that of the plot's files.
    """
    made = []
    for arm in shown_arms(points):
        # A case has its own latency, so that each case has its bars.
        parts = _parts(arm.result)
        made.append(Bar(arm.label, arm.is_candidate, parts))
    slowest = bars.longest(made)
    if slowest is None:
        measured = any(point.primary for point in points)
        reason = "no arm has a time to the first token" if measured else "nothing was measured"
        return LeftOut(name, _SUBJECT, reason)
    share = bars.share_of(slowest, "decode")
    return bars.draw(
        made,
        name=name,
        subject=_SUBJECT,
        title=f"Decoding takes {share} of a call in the slowest arm, prefill the rest",
        form=seconds_in_words,
    )


def _parts(arm: ArmResult) -> Parts:
    """Return the seconds of both parts of a call."""
    ttft_s = median_of(arm, "ttft_s")
    latency_s = median_of(arm, "latency_s")
    # Half a split would look like a fast call.
    if ttft_s is None or latency_s is None or latency_s < ttft_s:
        return {"prefill": None, "decode": None}
    return {"prefill": ttft_s, "decode": latency_s - ttft_s}
