"""Figures as the cells of a table; what is not known is a dash."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from jaxgen.specs.baseline import REPLACEABLE

SPOKEN = ("faster", "slower", "equivalent", "inconclusive")
"""Verdicts with a ratio. Of anything else, such as a run that was stopped, no speed-up is shown."""


def spoken(section: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the comparison of a result or of a case; empty where its verdict allows no ratio."""
    if section.get("verdict") not in SPOKEN:
        return {}
    return section.get("comparison") or {}


def baselines_apart(choices: Iterable[Mapping[str, Any]]) -> str | None:
    """Say what a reader of several ratios must know where they are against different baselines.

    Args:
        choices: of each point's baseline, the option of every group.

    Returns:
        A sentence, or null where the baselines are alike.
    """
    baselines = list(choices)
    groups = []
    for group in REPLACEABLE:
        options = {choice.get(group) for choice in baselines}
        if len(options) > 1:
            groups.append(group)
    if not groups:
        return None
    keys = " ".join(f"baseline.{group}=OPTION" for group in groups)
    return (
        f"the points' baselines differ in {' and '.join(groups)}, so that ratios of different "
        f"points cannot be held against each other; one {keys} for all of them would mend that"
    )


def heading(name: str, metric: Mapping[str, Any]) -> str:
    """Return a metric's name and unit, as the heading of a row or a column."""
    if metric["unit"] == "s":
        return name.removesuffix("_s") + ", ms"
    return name.replace("_per_s", "") + "/s"


def ratio_and_interval(comparison: Mapping[str, Any] | None) -> str:
    """Write a ratio such as `1.52 [1.48, 1.57]`."""
    if comparison is None:
        return ""
    ratio = number(comparison["ratio"], digits=3)
    if not comparison["ci95"]:
        return ratio
    ends = [number(end, digits=3) for end in comparison["ci95"]]
    return f"{ratio} [{', '.join(ends)}]"


def number(value: float, *, digits: int) -> str:
    """Write so many significant digits, never an exponent: 12.3, 1234, 0.0123."""
    digits_before = 1
    if value:
        digits_before = math.floor(math.log10(abs(value))) + 1
    # Of three digits 12.3 has two before the point, which leaves one behind it.
    decimals = max(digits - digits_before, 0)
    return f"{value:.{decimals}f}"


def compiles_in_trials(facts: Mapping[str, Any]) -> str:
    """Write the compile events of all trials, and how many trials there are."""
    events = facts["compile"]["events_per_trial"]
    return f"{sum(events)} in {len(events)}" if events else "-"


def seconds(value: float | None) -> str:
    """Write seconds to a tenth."""
    return "-" if value is None else f"{value:.1f} s"


def percent(share: float | None) -> str:
    """Write a share as percent."""
    if share is None:
        return "-"
    # Three significant digits would need an exponent from here on: 9.995 is rounded to 1e+03 %.
    if share >= 9.995:
        return f"{100 * share:.0f} %"
    return f"{100 * share:.3g} %"


def size(count: int | None) -> str:
    """Write bytes in units of powers of ten."""
    if count is None:
        return "-"
    if count < 1e6:
        return f"{count / 1e3:.1f} kB"
    if count < 1e9:
        return f"{count / 1e6:.1f} MB"
    return f"{count / 1e9:.2f} GB"


def call_percentile(facts: Mapping[str, Any], *, name: str) -> str:
    """Write a percentile of single calls in milliseconds; p99 is unknown below a hundred."""
    calls = facts.get("calls") or {}
    value = calls.get(name)
    return "-" if value is None else number(1e3 * value, digits=3)


def prefix_reuse(prefix: Mapping[str, Any] | None) -> str:
    """Write how many items continued the query's cache, and how many did not."""
    if prefix is None:
        return "-"
    others = prefix["misses"] + prefix["fallbacks"]
    return f"{prefix['hits']} / {others}"


def mesh_use(mesh: Mapping[str, Any] | None) -> dict[str, str]:
    """Say how a model is spread over devices, and what its last program costs for that.

    Args:
        mesh: the section of that name of an arm; null on a single device.

    Returns:
        Cells by name; "-" for what is not known.
    """
    known = mesh or {}
    axes = "-"
    if "data" in known and "tensor" in known:
        axes = f"{known['data']} x {known['tensor']}"
    return {
        "mesh, data x tensor": axes,
        "weights on each device": size(known.get("weights_bytes_per_device")),
        "KV cache on each device": size(known.get("kv_cache_bytes_per_device")),
        "collectives of the last program": _collectives(known.get("collectives") or {}),
    }


def _collectives(programs: Mapping[str, Mapping[str, int]]) -> str:
    if not programs:
        return "-"
    last = list(programs)[-1]
    counts = [f"{count} {name}" for name, count in programs[last].items()]
    return ", ".join(counts) or "none"


def cache_use(facts: Mapping[str, Any] | None) -> dict[str, str]:
    """Say how sequences used the KV cache.

    Args:
        facts: the section `cache` of an arm's work; null where there is no cache.

    Returns:
        Cells by name; "-" for what is not known or does not exist.
    """
    known = {key: value for key, value in (facts or {}).items() if value is not None}
    memory = "-"
    if facts:
        reserved, used = _size_in(known, "reserved_bytes"), _size_in(known, "used_bytes")
        memory = f"{reserved} / {used}"
    hits = "-"
    if "saved_bytes" in known:
        saved = _size_in(known, "saved_bytes")
        hits = f"{_joined(known, '{} of {}', 'hits', 'texts')}, {saved} saved"
    pages = _joined(known, "{} of {} of {} tokens", "most_pages", "pages", "page_size")
    return {
        "KV cache, reserved / used": memory,
        "KV cache, reserved but unused": percent(known.get("unused_share")),
        "rows at once": _joined(known, "{} of {}", "most_rows", "rows"),
        "pages in use at most": pages,
        "texts with a known beginning": hits,
    }


def _size_in(known: Mapping[str, Any], key: str) -> str:
    return size(round(known[key])) if key in known else "-"


def _joined(known: Mapping[str, Any], form: str, *keys: str) -> str:
    """Fill values into a form, or write a dash where one is not known."""
    if any(key not in known for key in keys):
        return "-"
    values = [known[key] for key in keys]
    return form.format(*values)


def quality(figures: Mapping[str, Any] | None) -> dict[str, str]:
    """Say what narrower numbers cost, by name; nothing where the arms have the same dtypes."""
    if figures is None:
        return {}
    agreement = percent(figures["next_token_agreement"])
    return {
        "next token alike": f"{agreement} of {figures['positions']}",
        "KL, nats": f"{figures['kl_mean']:.2g}",
        "logit error": number(figures["logit_error"], digits=2),
    }


def widened(copies: Mapping[str, Any] | None) -> str:
    """Write how much a program widens before it uses it, and by which operation most."""
    if not copies or not copies["count"]:
        return "-"
    most = copies["operations"][0]
    operation = most["operation"].rsplit("/", 1)[-1]
    return f"{size(copies['bytes'])}, most by {operation} to {most['array']}"


def grids(tally: Mapping[str, Any] | None) -> str:
    """Write how many ARC tasks were solved, gave a grid that could be parsed, and were asked."""
    return "-" if tally is None else "{correct} / {parsed} / {asked}".format(**tally)


def compile_events(startup: Mapping[str, Any]) -> str:
    """Write the compile events of the first call of all, and of the first after the warm-up."""
    calls, after = startup.get("calls"), startup.get("next_call")
    if not calls or not after:
        return "-"
    return f"{calls[0]['events']} / {after['events']}"


def precompile(startup: Mapping[str, Any]) -> str:
    """Write the trace, lower and compile seconds of a fresh process.

    The first figure is over an empty compilation cache, the second over a filled one.
    """
    starts = [startup.get("cold"), startup.get("warm")]
    if not any(starts):
        return "-"
    return " / ".join(_precompile_s(start) for start in starts)


def _precompile_s(start: Mapping[str, Any] | None) -> str:
    if not start:
        return "-"
    call = start["first_call"]
    total_s = call["trace_s"] + call["lower_s"] + call["compile_s"]
    return f"{total_s:.2f} s"
