"""Figures as the cells of a table; what is unknown is a dash."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from jaxgen.specs.baseline import REPLACEABLE

SPOKEN = ("faster", "slower", "equivalent", "inconclusive")
"""Verdicts with a ratio. Of anything else, a run that was stopped among them, no speed-up is told."""


def spoken(block: Mapping[str, Any]) -> Mapping[str, Any]:
    """The comparison of a result or of a case, as far as its verdict lets it be told."""
    return block.get("comparison") or {} if block.get("verdict") in SPOKEN else {}


def baselines_apart(choices: Iterable[Mapping[str, Any]]) -> str | None:
    """What a reader of several ratios must know where they are against different baselines; null
    where they are not.

    Args:
        choices: of each point's baseline, the option of every group.
    """
    each = list(choices)
    groups = [group for group in REPLACEABLE if len({choice.get(group) for choice in each}) > 1]
    if not groups:
        return None
    keys = " ".join(f"baseline.{group}=OPTION" for group in groups)
    return (
        f"the points' baselines differ in {' and '.join(groups)}, so that ratios of different points cannot be held "
        f"against each other; one {keys} for all of them would mend that"
    )


def heading(metric: str, block: Mapping[str, Any]) -> str:
    """A metric's name and unit, as a row's or a column's."""
    return (
        metric.removesuffix("_s") + ", ms"
        if block["unit"] == "s"
        else f"{metric.replace('_per_s', '')}/s"
    )


def median_and_std(metric: Mapping[str, Any]) -> str:
    """Median and, where known, the standard deviation; seconds as milliseconds."""
    if metric["median"] is None:
        return "-"
    scale = 1e3 if metric["unit"] == "s" else 1.0
    spread = f" ± {number(scale * metric['std'], digits=2)}" if metric["std"] is not None else ""
    return f"{number(scale * metric['median'], digits=4)}{spread}"


def ratio_and_interval(comparison: Mapping[str, Any] | None) -> str:
    """Such as `1.52 [1.48, 1.57]`."""
    if comparison is None:
        return ""
    interval = comparison["ci95"]
    span = f" [{', '.join(number(end, digits=3) for end in interval)}]" if interval else ""
    return f"{number(comparison['ratio'], digits=3)}{span}"


def number(value: float, *, digits: int) -> str:
    """So many significant digits, never an exponent: 12.3, 1234, 0.0123."""
    before = math.floor(math.log10(abs(value))) + 1 if value else 1
    return f"{value:.{max(digits - before, 0)}f}"


def compiles_in_trials(facts: Mapping[str, Any]) -> str:
    """Compile events of all trials, and how many trials."""
    events = facts["compile"]["events_per_trial"]
    return "-" if not events else f"{sum(events)} in {len(events)}"


def seconds(value: float | None) -> str:
    """To a tenth."""
    return "-" if value is None else f"{value:.1f} s"


def percent(share: float | None) -> str:
    """Of a share."""
    if share is None:
        return "-"
    return f"{100 * share:.0f} %" if share >= 10 else f"{100 * share:.3g} %"


def size(count: int | None) -> str:
    """Bytes, in powers of ten."""
    if count is None:
        return "-"
    if count < 1e6:
        return f"{count / 1e3:.1f} kB"
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def call_percentile(facts: Mapping[str, Any], *, name: str) -> str:
    """Of single calls, in milliseconds; p99 is unknown below a hundred."""
    value = (facts.get("calls") or {}).get(name)
    return "-" if value is None else number(1e3 * value, digits=3)


def prefix_reuse(prefix: Mapping[str, Any] | None) -> str:
    """How many items continued the query's cache, and how many did not."""
    return "-" if prefix is None else f"{prefix['hits']} / {prefix['misses'] + prefix['fallbacks']}"


def mesh_use(mesh: Mapping[str, Any] | None) -> dict[str, str]:
    """How a model is spread and what its last program costs for that, by name; "-" on a single
    device.

    Args:
        mesh: the block of that name of an arm.
    """
    known = mesh or {}
    programs = known.get("collectives") or {}
    last = next(reversed(programs), None)
    counts = ", ".join(f"{count} {name}" for name, count in (programs.get(last) or {}).items())
    return {
        "mesh, data x tensor": f"{known['data']} x {known['tensor']}"
        if {"data", "tensor"} <= known.keys()
        else "-",
        "weights on each device": size(known.get("weights_bytes_per_device")),
        "KV cache on each device": size(known.get("kv_cache_bytes_per_device")),
        "collectives of the last program": (counts or "none") if last else "-",
    }


def cache_use(facts: Mapping[str, Any] | None) -> dict[str, str]:
    """What texts had of the KV cache, by name; "-" for what is unknown or does not exist.

    Args:
        facts: the block `cache` of an arm's facts; null where nothing is kept.
    """
    known = {key: value for key, value in (facts or {}).items() if value is not None}

    def told(form: str, *keys: str) -> str:
        return (
            form.format(*(known[key] for key in keys)) if all(key in known for key in keys) else "-"
        )

    sizes = [
        size(round(known[key])) if key in known else "-"
        for key in ("reserved_bytes", "used_bytes", "saved_bytes")
    ]
    saved = f", {sizes[2]} saved" if "saved_bytes" in known else ""
    return {
        "KV cache, reserved / used": f"{sizes[0]} / {sizes[1]}" if facts else "-",
        "KV cache, reserved but unused": percent(known.get("unused_share")),
        "rows at once": told("{} of {}", "most_rows", "rows"),
        "pages in use at most": told("{} of {} of {} tokens", "most_pages", "pages", "page_size"),
        "texts with a known beginning": told("{} of {}", "hits", "texts") + saved if saved else "-",
    }


def quality(told: Mapping[str, Any] | None) -> dict[str, str]:
    """What narrower numbers cost, by name; nothing where the arms have the same."""
    if told is None:
        return {}
    return {
        "next token alike": f"{percent(told['next_token_agreement'])} of {told['positions']}",
        "KL, nats": f"{told['kl_mean']:.2g}",
        "logit error": f"{number(told['logit_error'], digits=2)}",
    }


def widened(copies: Mapping[str, Any] | None) -> str:
    """What a program writes in a wider dtype before it uses it, and by which operation most."""
    if not copies or not copies["count"]:
        return "-"
    most = copies["operations"][0]
    return f"{size(copies['bytes'])}, most by {most['operation'].rsplit('/', 1)[-1]} to {most['array']}"


def grids(tally: Mapping[str, Any] | None) -> str:
    """Of ARC tasks: solved, of which a grid could be parsed, asked."""
    return "-" if tally is None else f"{tally['correct']} / {tally['parsed']} / {tally['asked']}"


def compile_events(startup: Mapping[str, Any]) -> str:
    """Compile events of the first call of all, and of the first behind the warm-up."""
    calls, after = startup.get("calls"), startup.get("next_call")
    return f"{calls[0]['events']} / {after['events']}" if calls and after else "-"


def precompile(startup: Mapping[str, Any]) -> str:
    """Trace, lower and compile seconds of a fresh process, over an empty and over a filled cache folder."""
    sides = [startup.get("cold"), startup.get("warm")]
    parts = ("trace_s", "lower_s", "compile_s")
    told = [
        f"{sum(side['first_call'][part] for part in parts):.2f} s" if side else "-"
        for side in sides
    ]
    return " / ".join(told) if any(sides) else "-"
