"""The table of the arms on the terminal: what differs, what was measured, and on what scale."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from rich.table import Table

from jaxgen.console.plain_table import plain_table
from jaxgen.results import formatting, means, roofline_words
from jaxgen.results.schema import Agreement, AlgorithmTest, ArmResult, Result
from jaxgen.specs.arm import Arm

Row = list[str]
"""A name, then one text for each arm; what is said of both together may follow."""

UNKNOWN = "-"


def arms_table(arms: Mapping[str, Arm], result: Result) -> Table:
    """Make the table with one column for each arm.

    Args:
        arms: by name, the candidate first.
        result: of the run; an arm that failed has no metrics.
    """
    table = plain_table()
    table.add_column("")
    for name in [*arms, "ratio"]:
        table.add_column(name, justify="right")
    # In the order of the columns, which a result read from a file need not have.
    of_arms = [result["arms"][name] for name in arms]
    rows = [
        *_choice_rows(list(arms.values())),
        *_metric_rows(of_arms, result),
        *_compile_rows(of_arms, has_cases=bool(result["cases"])),
        *_fact_rows(of_arms),
        *_differing_rows(of_arms),
        *_agreement_rows(result["agreement"]),
    ]
    for row in rows:
        table.add_row(*row)
    return table


def _choice_rows(arms: Sequence[Arm]) -> Iterator[Row]:
    """Yield the options in which the arms differ."""
    candidate, *others = arms
    for group, option in candidate.choices.items():
        # The group `baseline` says what makes the arms differ, and is the same in both.
        if group == "baseline":
            continue
        options = [str(option)]
        for arm in others:
            options.append(str(arm.choices.get(group)))
        if len(set(options)) > 1:
            yield [group, *options]


def _metric_rows(arms: Sequence[ArmResult], result: Result) -> Iterator[Row]:
    """Yield each metric of the candidate with the ratio, where the verdict lets it be told."""
    comparisons = formatting.spoken(result)
    for name, figures in arms[0]["metrics"].items():
        row = [formatting.heading(name, figures)]
        for arm in arms:
            metric = arm["metrics"].get(name)
            if metric is not None:
                row.append(means.mean_and_std(metric))
        comparison = comparisons.get(name)
        # No speed-up is told of an invalid measurement.
        row.append(formatting.ratio_and_interval(comparison))
        yield row


def _compile_rows(arms: Sequence[ArmResult], *, has_cases: bool) -> Iterator[Row]:
    # With cases, the trials are counted case by case.
    if not has_cases:
        compiles = [formatting.compiles_in_trials(arm) for arm in arms]
        yield ["compiles in trials", *compiles]
    seconds = []
    for arm in arms:
        warmup_s = arm["startup"]["warmup_s"]
        seconds.append(formatting.seconds(warmup_s))
    yield ["compile + warm-up", *seconds]


def _fact_rows(arms: Sequence[ArmResult]) -> Iterator[Row]:
    """Yield the facts that are known of at least one arm; result.json says why others are not."""
    for name, text_of in _FACTS.items():
        texts = [text_of(arm) for arm in arms]
        if set(texts) != {UNKNOWN}:
            yield [name, *texts]


def _differing_rows(arms: Sequence[ArmResult]) -> Iterator[Row]:
    """Yield the facts that say something only where the arms differ in them."""
    for name, text_of in _FACTS_THAT_DIFFER.items():
        # Two equal programs are no news; a program of another size is.
        texts = [text_of(arm) for arm in arms]
        if len(set(texts)) > 1:
            yield [name, *texts]


def _agreement_rows(agreement: Agreement | None) -> Iterator[Row]:
    """Yield how the outputs compare, and how far the numbers behind them are apart."""
    if agreement is None:
        return
    status = str(agreement.get("status"))
    tokens = agreement.get("tokens_compared")
    if tokens is not None:
        yield ["outputs", status, f"{tokens} tokens"]
    distance = agreement.get("max_abs_logprob_diff")
    if distance is not None:
        yield ["log-probs apart", formatting.number(distance, digits=1)]
    depth = agreement.get("depth_compared")
    if depth is not None:
        yield ["depth compared", f"{depth} tokens"]
    scores = agreement.get("scores_compared")
    if scores is not None:
        yield ["outputs", status, f"{scores} scores"]
    distance = agreement.get("max_abs_score_diff")
    if distance is not None:
        yield ["scores apart", formatting.number(distance, digits=1)]
    yield from _algorithm_rows(agreement.get("algorithm"))
    quality = formatting.quality(agreement.get("quality"))
    for name, text in quality.items():
        yield [name, text]


def _algorithm_rows(test: AlgorithmTest | None) -> Iterator[Row]:
    """Yield how far the arms lie apart beside rounding, where that was in doubt."""
    if test is None or test["excess"] is None:
        return
    excess = formatting.number(test["excess"], digits=2)
    yield ["times rounding", excess, f"{test['most_excess']:g} allowed"]


def _size(key: str) -> Callable[[ArmResult], str]:
    def text_of(arm: ArmResult) -> str:
        count = arm["memory"].get(key)
        return formatting.size(count)

    return text_of


def _read_share(reads_from: str | None) -> Callable[[ArmResult], str]:
    def text_of(arm: ArmResult) -> str:
        share = roofline_words.share_of(arm.get("roofline"), reads_from)
        return formatting.percent(share)

    return text_of


def _cache(name: str) -> Callable[[ArmResult], str]:
    def text_of(arm: ArmResult) -> str:
        work = arm.get("workload") or {}
        facts = formatting.cache_use(work.get("cache"))
        return facts[name]

    return text_of


def _mesh(name: str) -> Callable[[ArmResult], str]:
    def text_of(arm: ArmResult) -> str:
        facts = formatting.mesh_use(arm.get("mesh"))
        return facts[name]

    return text_of


def _grids(arm: ArmResult) -> str:
    work = arm.get("workload") or {}
    return formatting.grids(work.get("grids"))


def _prefix_reuse(arm: ArmResult) -> str:
    work = arm.get("workload") or {}
    return formatting.prefix_reuse(work.get("prefix"))


def _weights(arm: ArmResult) -> str:
    weights = arm["weights"] or {}
    return formatting.size(weights.get("bytes"))


_FACTS: dict[str, Callable[[ArmResult], str]] = {
    # A model that a cache holds has no share of the memory's bandwidth.
    "share of bandwidth": _read_share("memory"),
    "share of cache reads": _read_share("cache"),
    "share of reads": _read_share(None),
    "share of FLOP/s": lambda arm: formatting.percent((arm.get("roofline") or {}).get("mfu")),
    "KV cache": _size("kv_cache_bytes"),
    # Asked about nothing, it returns all of its names: a new fact of the cache gets its row here.
    **{name: _cache(name) for name in formatting.cache_use(None)},
    **{name: _mesh(name) for name in formatting.mesh_use(None)},
    "widened before use": lambda arm: formatting.widened(arm["program"].get("wide_copies")),
    "program temporaries": _size("program_temp_bytes"),
    "peak memory, host": _size("host_peak_rss_bytes"),
    "peak memory, device": _size("device_peak_bytes"),
    "precompile, cold / warm": lambda arm: formatting.precompile(arm["startup"]),
    "grids right / parsed / asked": _grids,
    "items with / without reuse": _prefix_reuse,
}
"""The rows of facts in their order, and the text of each for an arm."""

_FACTS_THAT_DIFFER: dict[str, Callable[[ArmResult], str]] = {
    "weights": _weights,
    "compiles, 1st / next call": lambda arm: formatting.compile_events(arm["startup"]),
    "weights in each program": lambda arm: formatting.size(arm["program"].get("captured_bytes")),
    "programs as text": lambda arm: formatting.size(arm["program"]["module_bytes"]),
}
