"""Tables as data, from points: the pages and the list of runs only set them."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from jaxgen.report import words
from jaxgen.report.points import Point, at, differences, number_at
from jaxgen.results import formatting
from jaxgen.results.collection import Unread

UNKNOWN = "-"


@dataclasses.dataclass(frozen=True)
class Cell:
    """A text, and what it is sorted by: a number where it has one."""

    text: str
    value: float | None = None


@dataclasses.dataclass(frozen=True)
class Table:
    """A table whose first column heads its rows.

    Attributes:
        numeric: for each column, whether it is set to the right.
        many: long enough to be sorted and filtered by its reader.
    """

    caption: str
    columns: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[Cell, ...], ...]
    many: bool = False


def text(value: Any) -> Cell:
    """A cell of words."""
    return Cell(UNKNOWN if value is None or value == "" else str(value))


def arms_table(point: Point) -> Table:
    """One column per arm: what they differ in, what was measured, how far it can be trusted."""
    arms = point.arms
    rows = [
        (text(key), *(text(values[arm]) for arm in arms))
        for key, values in differences(point).items()
    ]
    ratios = {}
    for metric, block in arms["candidate"].get("metrics", {}).items():
        cells = [_metric(arm, metric) for arm in arms.values()]
        ratios[len(rows)] = text(formatting.ratio_and_interval(point.comparison.get(metric)))
        rows.append((text(formatting.heading(metric, block)), *cells))
    for name, cell_of in _FACTS:
        cells = [cell_of(arm) for arm in arms.values()]
        if any(cell.text != UNKNOWN for cell in cells):
            rows.append((text(name), *cells))
    against = (
        {"outputs against the baseline's": outputs(point)}
        if at(point.block, "agreement", "status")
        else {}
    )
    against |= {
        f"{name}, against the baseline": text(told) for name, told in _quality(point).items()
    }
    for name, cell in against.items():
        rows.append((text(name), *(cell if arm == "candidate" else Cell("") for arm in arms)))
    columns, whole = ("", *arms), rows
    if len(arms) > 1 and point.comparison:
        columns = (*columns, "ratio [95 % interval]")
        whole = [(*row, ratios.get(number, Cell(""))) for number, row in enumerate(rows)]
    caption = "The arms: medians ± standard deviation"
    caption += "; a ratio above 1 means that the candidate is better" if point.comparison else ""
    return Table(caption, columns, (False, *[True] * (len(columns) - 1)), tuple(whole))


def points_table(points: Sequence[Point], unread: Sequence[Unread] = ()) -> Table:
    """One row per point; of the settings only those that vary."""
    settings = list(dict.fromkeys(key for point in points for key in point.settings))
    many_runs = len({point.run.folder for point in points}) > 1 or bool(unread)
    metrics = _primaries(points)
    two = any("baseline" in point.arms for point in points)
    columns: list[tuple[str, bool, Callable[[Point], Cell]]] = []
    columns += [("run", False, lambda point: _run_name(point.run.name))] if many_runs else []
    columns += [
        (key, False, lambda point, key=key: _setting(point.settings.get(key))) for key in settings
    ]
    columns += [("verdict", False, verdict_cell)]
    columns += [
        _level_column("candidate", metric, heading, two=two) for metric, heading in metrics.items()
    ]
    if two:
        columns += [
            _level_column("baseline", metric, heading, two=two)
            for metric, heading in metrics.items()
        ]
        columns += [("ratio [95 % interval]", True, _ratio), ("outputs", False, _agreement)]
    columns += [
        (name, True, lambda point, name=name: text(_quality(point).get(name)))
        for name in dict.fromkeys(name for point in points for name in _quality(point))
    ]
    columns += [("warm", False, _warm_arms)]
    columns += [("MBU", True, lambda point: _share(point.arms["candidate"], "mbu"))]
    rows = [tuple(cell_of(point) for _, _, cell_of in columns) for point in points]
    blank = [Cell("")] * (len(columns) - 1)
    verdict = [name for name, _, _ in columns].index("verdict")
    for each in unread:
        cells = [_run_name(each.name), *blank]
        cells[verdict] = Cell(f"not shown: {each.reason}")
        rows.append(tuple(cells))
    caption = "Every point; settings that all of them share are left out"
    names, numeric = tuple(name for name, _, _ in columns), tuple(right for _, right, _ in columns)
    return Table(caption, names, numeric, tuple(rows), many=True)


def gate_table(gate: Mapping[str, Any]) -> Table:
    """What a gate compared, row by row."""
    rows = []
    for row in gate["rows"]:
        case = " ".join(f"{name}={value}" for name, value in row["params"].items())
        change = row["change"]
        then, now = (
            Cell(UNKNOWN) if row[key] is None else _number(row[key]) for key in ("old", "new")
        )
        told = Cell(UNKNOWN) if change is None else Cell(f"{100 * change:+.1f} %", change)
        rows.append((text(f"{row['metric']} {case}".strip()), then, now, told, text(row["status"])))
    caption = (
        f"The gate against {gate['against']}, threshold {formatting.percent(gate['threshold'])}"
    )
    return Table(
        caption,
        ("metric", "then", "now", "change", "status"),
        (False, True, True, True, False),
        tuple(rows),
    )


def verdict_cell(point: Point) -> Cell:
    """The verdict; of a failed run, which arm failed with what."""
    if point.run.result["status"] == "failed":
        failures = [words.failure(arm) for arm in point.arms.values()]
        return text(f"failed: {next((told for told in failures if told), 'no arm says why')}")
    return text(point.verdict)


def outputs(point: Point) -> Cell:
    """Agreement of the outputs, and of how much."""
    agreement = point.block.get("agreement") or {}
    counts = [(what, agreement.get(f"{what}_compared")) for what in ("tokens", "scores")]
    told = [f"{count} {what}" for what, count in counts if count is not None]
    return text(f"{agreement.get('status')} ({told[0]})" if told else agreement.get("status"))


def warm(arm: Mapping[str, Any]) -> Cell:
    """Whether no trial saw a compile event; else how many did."""
    events, is_warm = at(arm, "compile", "events_per_trial") or [], at(arm, "compile", "warm")
    if is_warm is None or is_warm:
        return Cell("yes" if is_warm else UNKNOWN)
    void = at(arm, "compile", "void_trials") or 0
    dirty = void + sum(count > 0 for count in events)
    return Cell(f"no, compiled in {dirty} of {void + len(events)} trials", dirty)


def _warm_arms(point: Point) -> Cell:
    """`yes`, or the arms that are not."""
    cells = {name: warm(arm) for name, arm in point.arms.items()}
    told = [
        f"{name} {cell.text.removeprefix('no, ')}" for name, cell in cells.items() if cell.value
    ]
    return Cell("; ".join(told)) if told else cells["candidate"]


def _agreement(point: Point) -> Cell:
    return text(at(point.block, "agreement", "status"))


def _quality(point: Point) -> dict[str, str]:
    return formatting.quality(at(point.block, "agreement", "quality"))


def _primaries(points: Sequence[Point]) -> dict[str, str]:
    """The metrics of the verdicts, with their headings."""
    found = {}
    for point in points:
        if point.primary:
            block = point.arms["candidate"]["metrics"][point.primary]
            found.setdefault(point.primary, formatting.heading(point.primary, block))
    return found


def _level_column(
    arm: str, metric: str, heading: str, *, two: bool
) -> tuple[str, bool, Callable[[Point], Cell]]:
    return (
        f"{arm}, {heading}" if two else heading,
        True,
        lambda point: _metric(point.arms.get(arm, {}), metric),
    )


def _metric(arm: Mapping[str, Any], metric: str) -> Cell:
    block = at(arm, "metrics", metric)
    return Cell(formatting.median_and_std(block), block["median"]) if block else Cell(UNKNOWN)


def _ratio(point: Point) -> Cell:
    compared = point.ratio
    return (
        Cell(formatting.ratio_and_interval(compared), compared["ratio"])
        if compared
        else Cell(UNKNOWN)
    )


def _setting(value: str | None) -> Cell:
    if value is None:
        return Cell(UNKNOWN)
    try:
        return Cell(value, float(value))
    except ValueError:
        return Cell(value)


def _run_name(name: str) -> Cell:
    return Cell(name, float(name)) if name.isdigit() else Cell(name)


def _number(value: float) -> Cell:
    return Cell(formatting.number(value, digits=4), value)


def _share(arm: Mapping[str, Any], key: str) -> Cell:
    value = number_at(arm, "roofline", key)
    return Cell(formatting.percent(value), value)


def _size(*path: str) -> Callable[[Mapping[str, Any]], Cell]:
    def cell(arm: Mapping[str, Any]) -> Cell:
        value = number_at(arm, *path)
        return Cell(
            UNKNOWN if value is None else "0" if value == 0 else formatting.size(int(value)), value
        )

    return cell


def _seconds(*path: str) -> Callable[[Mapping[str, Any]], Cell]:
    def cell(arm: Mapping[str, Any]) -> Cell:
        value = number_at(arm, *path)
        return Cell(formatting.seconds(value), value)

    return cell


def _cache(name: str) -> Callable[[Mapping[str, Any]], Cell]:
    return lambda arm: Cell(formatting.cache_use(at(arm, "workload", "cache"))[name])


def _mesh(name: str) -> Callable[[Mapping[str, Any]], Cell]:
    return lambda arm: Cell(formatting.mesh_use(arm.get("mesh"))[name])


def _weights(arm: Mapping[str, Any]) -> Cell:
    """Random weights are called so wherever a result is shown."""
    known = arm.get("weights") or {}
    return text("random" if known.get("random") else known.get("source"))


_FACTS: tuple[tuple[str, Callable[[Mapping[str, Any]], Cell]], ...] = (
    ("weights", _weights),
    ("warm", warm),
    ("compile + warm-up", _seconds("startup", "warmup_s")),
    ("MBU, share of the bandwidth", lambda arm: _share(arm, "mbu")),
    ("MFU, share of the FLOP/s", lambda arm: _share(arm, "mfu")),
    ("KV cache", _size("memory", "kv_cache_bytes")),
    *((name, _cache(name)) for name in formatting.cache_use(None)),
    *((name, _mesh(name)) for name in formatting.mesh_use(None)),
    ("widened before use", lambda arm: text(formatting.widened(at(arm, "program", "wide_copies")))),
    ("program temporaries", _size("memory", "program_temp_bytes")),
    ("peak memory, host", _size("memory", "host_peak_rss_bytes")),
    ("peak memory, device", _size("memory", "device_peak_bytes")),
)


def facts_table(caption: str, rows: Iterator[tuple[str, str]]) -> Table:
    """Names and values, such as those of the environment."""
    return Table(
        caption,
        ("", "value"),
        (False, False),
        tuple((text(name), text(value)) for name, value in rows),
    )
