"""The measurements of a study, each with its interval: how often those of equal arms hold 1, and how far they stray."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxgen.report.plots.drawing import ACCENT, PLAIN, Drawing, LeftOut, axes_of, legend_above
from jaxgen.report.plots.ratios import axis_of_ratios, mark_margin
from jaxgen.report.points import at, number_at
from jaxgen.results import formatting
from jaxgen.results.collection import StoredRun

SUBJECT = "intervals of the repetitions"
EQUAL = "equal arms"

Compared = Mapping[str, Any]


def repetitions(run: StoredRun) -> dict[str, list[Compared]] | None:
    """The comparisons of a study by what was compared, those that have an interval; null for any other run."""
    calibration, selftest = at(run.result, "calibration"), at(run.result, "selftest")
    if selftest:
        slowed = f"{formatting.percent(selftest.get('slowdown'))} more work in the candidate"
        found = {EQUAL: selftest["same"], slowed: selftest["slowed"]}
    elif calibration:
        found = {EQUAL: calibration["comparisons"]}
    else:
        return None
    return {
        name: [each for each in compared if each["ratio"] and each["ci95"]]
        for name, compared in found.items()
    }


def draw(run: StoredRun, *, name: str) -> Drawing | LeftOut:
    """Every interval of a study, those of each kind in the order of their ratios."""
    series = {
        kind: sorted(each, key=_ratio) for kind, each in (repetitions(run) or {}).items() if each
    }
    if not series:
        return LeftOut(name, SUBJECT, "no repetition has an interval")
    margin = number_at(run.result, "selftest", "margin") or number_at(
        run.result, "calibration", "floor"
    )
    count = sum(map(len, series.values()))

    def put(figure) -> None:
        axes = axes_of(figure, grid="x")
        axis_of_ratios(
            axes,
            [
                1.0,
                *(end for each in series.values() for compared in each for end in compared["ci95"]),
            ],
        )
        mark_margin(axes, margin)
        first = 1
        for (kind, compared), colour in zip(series.items(), (PLAIN, ACCENT), strict=False):
            rows = range(first, first + len(compared))
            lows, highs = zip(*(each["ci95"] for each in compared), strict=True)
            axes.hlines(rows, lows, highs, color=colour, linewidth=1.0, alpha=0.6)
            axes.plot(
                [_ratio(each) for each in compared],
                rows,
                "o",
                color=colour,
                markersize=2.4,
                label=kind,
            )
            first += len(compared)
        axes.set_ylim(count + 1, 0)
        axes.set_yticks([])
        axes.set_xlabel("candidate / baseline, 95 % interval")
        legend_above(axes, columns=2)

    told = [
        f"{kind}: ratios from {_ratio(each[0]):.3f} to {_ratio(each[-1]):.3f}"
        for kind, each in series.items()
    ]
    note = "Black: equal, and grey what counts as equal." if margin else "Black: equal."
    return Drawing(
        name,
        _title(series),
        "; ".join(told) + ".",
        put,
        height_in=min(1.6 + 0.03 * count, 5.0),
        note=note,
    )


def _title(series: Mapping[str, Sequence[Compared]]) -> str:
    equal, slowed = (
        series.get(EQUAL, []),
        [each for kind, of in series.items() if kind != EQUAL for each in of],
    )
    held = sum(each["ci95"][0] <= 1 <= each["ci95"][1] for each in equal)
    told = [f"{held} of {len(equal)} intervals of equal arms hold 1"] if equal else []
    below = sum(each["ci95"][1] < 1 for each in slowed)
    told += [f"{below} of {len(slowed)} with more work end below it"] if slowed else []
    return ", ".join(told)


def _ratio(compared: Compared) -> float:
    return compared["ratio"]
