"""A finished result as tables and sentences for the terminal."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from jaxgen.results import formatting
from jaxgen.specs.arm import Arm


def parts(arms: Mapping[str, Arm], result: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Everything that is shown above the verdict, in order."""
    if "calibration" in result:
        yield from _calibration(result["calibration"])
    elif "selftest" in result:
        yield from _selftest(result["selftest"])
    else:
        yield _table(arms, result)
        if result["cases"]:
            yield _cases(arms, result)
        yield from _divergence(result)
        yield from _profiles(result)
        if "gate" in result:
            yield from _gate(result["gate"])
    for note in result["notes"]:
        yield Text(f"note: {note}", style="yellow")


def brief(result: Mapping[str, Any]) -> Iterator[RenderableType]:
    """What has to be said above the verdict to those who asked for little: what a gate, a study or a failure says."""
    if "calibration" in result:
        yield from list(_calibration(result["calibration"]))[:1]
    elif "selftest" in result:
        yield from _selftest(result["selftest"])
    elif "gate" in result:
        yield _gate_line(result["gate"])
    if result["status"] == "failed":
        yield from (Text(f"note: {note}", style="yellow") for note in result["notes"])


def _table(arms: Mapping[str, Arm], result: Mapping[str, Any]) -> Table:
    """One column per arm; of the choices only those that vary."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("")
    for name in arms:
        table.add_column(name, justify="right")
    table.add_column("ratio", justify="right")
    first, *rest = arms.values()
    for group, option in first.choices.items():
        if group != "baseline" and any(arm.choices.get(group) != option for arm in rest):
            table.add_row(group, *(str(arm.choices.get(group)) for arm in arms.values()))
    facts = [result["arms"][name] for name in arms]
    for metric, block in facts[0]["metrics"].items():
        cells = [
            formatting.median_and_std(each["metrics"][metric])
            for each in facts
            if metric in each["metrics"]
        ]
        table.add_row(
            formatting.heading(metric, block),
            *cells,
            formatting.ratio_and_interval(formatting.spoken(result).get(metric)),
        )
    if not result["cases"]:
        table.add_row(
            "compiles in trials", *(formatting.compiles_in_trials(each) for each in facts)
        )
    table.add_row(
        "compile + warm-up", *(formatting.seconds(each["startup"]["warmup_s"]) for each in facts)
    )
    for row in _scale_rows(facts):
        table.add_row(*row)
    for row in _agreement_rows(result["agreement"] or {}):
        table.add_row(*row)
    return table


def _agreement_rows(agreement: Mapping[str, Any]) -> Iterator[list[str]]:
    for counted, apart, told in (("tokens", "logprob", "log-probs"), ("scores", "score", "scores")):
        if f"{counted}_compared" in agreement:
            yield ["outputs", agreement["status"], f"{agreement[f'{counted}_compared']} {counted}"]
            moved = agreement[f"max_abs_{apart}_diff"]
            if moved is not None:
                yield [f"{told} apart", formatting.number(moved, digits=1)]
    yield from ([name, told] for name, told in formatting.quality(agreement.get("quality")).items())


def _scale_rows(facts: list[Mapping[str, Any]]) -> Iterator[list[str]]:
    """Rows that need not be there: what could not be had of either arm is left to the result's file."""
    meshes = [formatting.mesh_use(each.get("mesh")) for each in facts]
    uses = [formatting.cache_use(each.get("workload", {}).get("cache")) for each in facts]
    rows = (
        ("share of bandwidth", [formatting.percent(each["roofline"]["mbu"]) for each in facts]),
        ("share of FLOP/s", [formatting.percent(each["roofline"]["mfu"]) for each in facts]),
        ("KV cache", [formatting.size(each["memory"]["kv_cache_bytes"]) for each in facts]),
        *((name, [use[name] for use in uses]) for name in uses[0]),
        *((name, [mesh[name] for mesh in meshes]) for name in meshes[0]),
        (
            "widened before use",
            [formatting.widened(each["program"].get("wide_copies")) for each in facts],
        ),
        (
            "program temporaries",
            [formatting.size(each["memory"]["program_temp_bytes"]) for each in facts],
        ),
        (
            "peak memory, host",
            [formatting.size(each["memory"]["host_peak_rss_bytes"]) for each in facts],
        ),
        (
            "peak memory, device",
            [formatting.size(each["memory"]["device_peak_bytes"]) for each in facts],
        ),
        ("precompile, cold / warm", [formatting.precompile(each["startup"]) for each in facts]),
        (
            "grids right / parsed / asked",
            [formatting.grids(each.get("workload", {}).get("grids")) for each in facts],
        ),
        (
            "items with / without reuse",
            [formatting.prefix_reuse(each.get("workload", {}).get("prefix")) for each in facts],
        ),
    )
    for name, cells in rows:
        if any(cell != "-" for cell in cells):
            yield [name, *cells]
    differing = (
        ("weights", [formatting.size((each["weights"] or {}).get("bytes")) for each in facts]),
        (
            "compiles, 1st / next call",
            [formatting.compile_events(each["startup"]) for each in facts],
        ),
        (
            "weights in each program",
            [formatting.size(each["program"].get("captured_bytes")) for each in facts],
        ),
        ("programs as text", [formatting.size(each["program"]["module_bytes"]) for each in facts]),
    )
    for name, cells in differing:
        if len(set(cells)) > 1:
            yield [name, *cells]


def _divergence(result: Mapping[str, Any]) -> Iterator[RenderableType]:
    first = (result["agreement"] or {}).get("first_divergence")
    if first is None:
        return
    yield Text(f"prompt {first['index']} parts at new token {first['position']}:", style="bold")
    for arm, text in (first.get("excerpt") or {}).items():
        yield Text(f"  {arm:<9} {text}")


def _profiles(result: Mapping[str, Any]) -> Iterator[RenderableType]:
    for name, arm in result["arms"].items():
        if not arm.get("profile"):
            continue
        table = Table(
            box=None, pad_edge=False, header_style="bold", title=f"{name}: where the time goes"
        )
        for column in ("operation", "of", "count", "total, ms", "share"):
            table.add_column(column, justify="left" if column in ("operation", "of") else "right")
        for row in arm["profile"]["operations"]:
            total = formatting.number(1e3 * row["total_s"], digits=3)
            meant = row["meaning"] or ""
            table.add_row(
                row["name"],
                f"{row['program']} {meant}",
                str(row["count"]),
                total,
                formatting.percent(row["share"]),
            )
        yield table


def _cases(arms: Mapping[str, Arm], result: Mapping[str, Any]) -> Table:
    """One row per case: its parameters, the metric of the verdict, the ratio, the verdict."""
    cases = result["cases"]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for param in cases[0]["params"]:
        table.add_column(param.replace("_", "\n"), justify="right")
    measured = next((case for case in cases if case["arms"]["candidate"]["metrics"]), None)
    if measured is None:
        return table
    metric, block = next(iter(measured["arms"]["candidate"]["metrics"].items()))
    beside = {arm: _beside(arm, metric) for arm in arms}
    for arm in arms:
        for column in (f"{arm}\n{formatting.heading(metric, block)}", *beside[arm]):
            table.add_column(column, justify="right")
    table.add_column("ratio", justify="right")
    table.add_column("verdict")
    for case in cases:
        cells = [str(value) for value in case["params"].values()]
        for arm in arms:
            facts = case["arms"][arm]
            cells.append(
                formatting.median_and_std(facts["metrics"][metric]) if facts["metrics"] else "-"
            )
            cells += [told(facts) for told in beside[arm].values()]
        table.add_row(
            *cells,
            formatting.ratio_and_interval(formatting.spoken(case).get(metric)),
            case["verdict"] or "",
        )
    return table


def _beside(arm: str, metric: str) -> dict[str, Callable[[Mapping[str, Any]], str]]:
    """Columns behind an arm's metric, and what stands in them: the candidate's tail of requests, or the bandwidth."""
    if metric != "items_per_s":
        return {"MBU": lambda facts: formatting.percent(facts.get("roofline", {}).get("mbu"))}
    percentiles = ("p50", "p95", "p99") if arm == "candidate" else ()
    return {
        f"{name}, ms": functools.partial(formatting.call_percentile, name=name)
        for name in percentiles
    }


def _gate(gate: Mapping[str, Any]) -> Iterator[RenderableType]:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("gate", "then", "now", "change", "status"):
        table.add_column(column, justify="left" if column in ("gate", "status") else "right")
    for row in gate["rows"]:
        case = " ".join(f"{name}={value}" for name, value in row["params"].items())
        change = "-" if row["change"] is None else f"{100 * row['change']:+.1f} %"
        then, now = (
            ("-" if row[key] is None else formatting.number(row[key], digits=4))
            for key in ("old", "new")
        )
        table.add_row(f"{row['metric']} {case}".strip(), then, now, change, row["status"])
    yield table
    for note in gate["notes"]:
        yield Text(f"note: {note}", style="yellow")
    yield _gate_line(gate)


def _gate_line(gate: Mapping[str, Any]) -> Text:
    style = "bold green" if gate["status"] == "passed" else "bold red"
    return Text.assemble((f" gate: {gate['status']} ", style), " ", gate["reason"])


def _calibration(told: Mapping[str, Any]) -> Iterator[RenderableType]:
    if "floor" not in told:
        return
    rates = told["false_verdict_rates"]
    yield Text(f"noise floor of {told['key']}: {100 * told['floor']:.2f} %", style="bold")
    yield Text(
        f"{told['repetitions']} measurements of an arm against itself; false verdicts among them:"
    )
    yield Text(f"  without any margin        {formatting.percent(rates['without_margin'])}")
    yield Text(
        f"  at the default of {100 * told['default_margin']:.0f} %     {formatting.percent(rates['at_default_margin'])}"
    )
    yield Text(f"  at the noise floor        {formatting.percent(rates['at_noise_floor'])}")
    yield Text(
        f"kept in {told['kept_in']}; from now on it is the margin where measure.margin is null"
    )


def _selftest(told: Mapping[str, Any]) -> Iterator[RenderableType]:
    if "rates" not in told:
        return
    rates, margin = told["rates"], 100 * told["margin"]
    yield Text(
        f"equal arms left alone       {formatting.percent(rates['same_left_alone'])} of {len(told['same'])} measurements "
        f"(margin {margin:.2g} %)"
    )
    yield Text(
        f"{100 * told['slowdown']:.0f} % slowdown found         {formatting.percent(rates['slowdown_found'])} of "
        f"{len(told['slowed'])} measurements"
    )
    for name, fault in told["faults"].items():
        yield Text(f"{name:<27} {'found' if fault['found'] else 'NOT FOUND'}: {fault['reason']}")
