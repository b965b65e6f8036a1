"""The table of one run's arms: what they differ in, what was measured, how far to trust it."""

from collections.abc import Callable

from jaxgen.report.lookup import number_at, value_at
from jaxgen.report.points import Point
from jaxgen.report.settings import differences
from jaxgen.report.tables.cells import (
    UNKNOWN,
    Cell,
    Row,
    Table,
    metric_cell,
    quality_of,
    read_share_cell,
    share_cell,
    text_cell,
    warm_cell,
)
from jaxgen.results import formatting, means, roofline_words
from jaxgen.results.schema import ArmResult

CellOfArm = Callable[[ArmResult], Cell]


def arms_table(point: Point) -> Table:
    """Make the table of a point, with one column for each arm.

    Args:
        point: a run's only point, or the run as a whole.

    Returns:
        The settings that differ, the metrics, the facts that at least one arm has, and how the
        outputs compare. With a comparison, the last column holds the ratio of each metric.
    """
    columns = ("", *point.arms)
    if _has_ratios(point):
        columns = (*columns, "ratio [95 % interval]")
    rows = [
        *_setting_rows(point),
        *_metric_rows(point),
        *_fact_rows(point),
        *_output_rows(point),
    ]
    width = len(columns)
    filled = [_filled(row, width) for row in rows]
    return Table(
        caption=_caption(point),
        columns=columns,
        numeric=(False, *[True] * (width - 1)),
        rows=tuple(filled),
    )


def outputs_cell(point: Point) -> Cell:
    """Say how the outputs compare, and how many were compared: `identical (91 tokens)`."""
    agreement = point.section.get("agreement") or {}
    status = agreement.get("status")
    for noun in ("tokens", "scores"):
        count = agreement.get(f"{noun}_compared")
        if count is not None:
            return text_cell(f"{status} ({count} {noun})")
    return text_cell(status)


def _has_ratios(point: Point) -> bool:
    return len(point.arms) > 1 and bool(point.comparison)


def _filled(row: Row, length: int) -> Row:
    """Add empty cells to a row that has nothing to say in the last columns."""
    # Only metrics have ratios.
    missing = length - len(row)
    return (*row, *[Cell("")] * missing)


def _caption(point: Point) -> str:
    caption = f"The arms: {means.CELLS}"
    if point.comparison:
        caption += "; a ratio above 1 means that the candidate is better"
    return caption


def _setting_rows(point: Point) -> list[Row]:
    rows = []
    for key, values in differences(point.arms).items():
        row = [text_cell(key)]
        for arm in point.arms:
            row.append(text_cell(values[arm]))
        rows.append(tuple(row))
    return rows


def _metric_rows(point: Point) -> list[Row]:
    """Return a row for each metric; its last cell is the ratio, where there are ratios."""
    arms = point.arms
    metrics = arms["candidate"].get("metrics", {})
    rows = []
    for name, figures in metrics.items():
        heading = formatting.heading(name, figures)
        row = [text_cell(heading)]
        for arm in arms.values():
            row.append(metric_cell(arm, name))
        # Every metric is compared, though the verdict is about the first.
        if _has_ratios(point):
            comparison = point.comparison.get(name)
            ratio = formatting.ratio_and_interval(comparison)
            row.append(text_cell(ratio))
        rows.append(tuple(row))
    return rows


def _fact_rows(point: Point) -> list[Row]:
    """Return a row for each fact that is known of at least one arm."""
    rows = []
    for name, cell_of in _FACTS.items():
        # A CPU has no device memory, a single device has no mesh: their rows would be all dashes.
        cells = [cell_of(arm) for arm in point.arms.values()]
        texts = {cell.text for cell in cells}
        if texts != {UNKNOWN}:
            rows.append((text_cell(name), *cells))
    return rows


def _output_rows(point: Point) -> list[Row]:
    """Return rows about the candidate's outputs; the baseline's are what they are held against."""
    facts = {}
    # One arm alone has nothing to agree with.
    if value_at(point.section, "agreement", "status"):
        facts["outputs against the baseline's"] = outputs_cell(point)
    for name, value in quality_of(point).items():
        facts[f"{name}, against the baseline"] = text_cell(value)
    rows = []
    for name, fact in facts.items():
        row = [text_cell(name)]
        for arm in point.arms:
            row.append(fact if arm == "candidate" else Cell(""))
        rows.append(tuple(row))
    return rows


def _weights(arm: ArmResult) -> Cell:
    """Return the source of the weights; random weights are called so wherever a result is shown."""
    weights = arm.get("weights")
    if value_at(weights, "random"):
        return text_cell("random")
    return text_cell(value_at(weights, "source"))


def _widened(arm: ArmResult) -> Cell:
    copies = value_at(arm, "program", "wide_copies")
    return text_cell(formatting.widened(copies))


def _step(arm: ArmResult) -> Cell:
    """Say how much of a step its bytes and its FLOPs explain."""
    roofline = value_at(arm, "roofline")
    return text_cell(roofline_words.step_in_words(roofline))


def _seconds(*path: str) -> CellOfArm:
    def cell_of(arm: ArmResult) -> Cell:
        seconds = number_at(arm, *path)
        text = formatting.seconds(seconds)
        return Cell(text, value=seconds)

    return cell_of


def _size(*path: str) -> CellOfArm:
    def cell_of(arm: ArmResult) -> Cell:
        count = number_at(arm, *path)
        if count is None:
            return Cell(UNKNOWN)
        # Nothing is a size too: without temporaries, `0.0 kB` would look like a rounded one.
        text = formatting.size(int(count)) if count else "0"
        return Cell(text, value=count)

    return cell_of


def _cache(name: str) -> CellOfArm:
    def cell_of(arm: ArmResult) -> Cell:
        use = value_at(arm, "workload", "cache")
        facts = formatting.cache_use(use)
        return Cell(facts[name])

    return cell_of


def _mesh(name: str) -> CellOfArm:
    def cell_of(arm: ArmResult) -> Cell:
        mesh = arm.get("mesh")
        facts = formatting.mesh_use(mesh)
        return Cell(facts[name])

    return cell_of


_FACTS: dict[str, CellOfArm] = {
    "weights": _weights,
    "warm": warm_cell,
    "compile + warm-up": _seconds("startup", "warmup_s"),
    # A model that a cache holds has no share of the memory's bandwidth.
    "MBU, share of the bandwidth": lambda arm: read_share_cell(arm, "memory"),
    "share of the cache's read rate": lambda arm: read_share_cell(arm, "cache"),
    "share of the read rate, level not known": lambda arm: read_share_cell(arm, None),
    "MFU, share of the FLOP/s": lambda arm: share_cell(arm, "mfu"),
    "where its time goes": _step,
    "KV cache": _size("memory", "kv_cache_bytes"),
    # Asked about nothing, it returns all of its names: a new fact of the cache gets its row here.
    **{name: _cache(name) for name in formatting.cache_use(None)},
    **{name: _mesh(name) for name in formatting.mesh_use(None)},
    "widened before use": _widened,
    "program temporaries": _size("memory", "program_temp_bytes"),
    "peak memory, host": _size("memory", "host_peak_rss_bytes"),
    "peak memory, device": _size("memory", "device_peak_bytes"),
}
"""The facts of an arm in the order of their rows, and how each becomes a cell."""
