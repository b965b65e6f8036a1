"""The most memory that each arm needed, over the cases and the pairs of processes."""

from jaxgen.executor.pool import Pool
from jaxgen.measure.case import Facts


def keep(peaks: dict[str, Facts], pool: Pool, name: str) -> None:
    """Ask the workers for their peaks, and keep the larger of what was known and what they say.

    A device's account cannot be begun anew: a later case's may be that of earlier probes.

    Args:
        peaks: of each arm; gets the larger values.
        pool: the workers.
        name: which of the peaks counts at this moment, `device_peak_bytes` or
            `host_peak_rss_bytes`.
    """
    latest = pool.call_all("peaks")
    for arm, known in peaks.items():
        known["device_reason"] = latest[arm]["device_reason"]
        before, now = known.get(name), latest[arm][name]
        if before is not None and now is not None:
            now = max(before, now)
        known[name] = before if now is None else now
