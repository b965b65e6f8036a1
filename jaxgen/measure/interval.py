"""The interval of a mean log ratio: Student's t over blocks, widened by what a start adds.

Everything here is arithmetic on arrays whose last axis is the pairs of processes; axes before it
are runs, so that thousands of simulated runs go through the very functions of a measured one.
"""

import dataclasses

import numpy as np
from scipy import special

from jaxgen.measure.spread import Nested, block_means
from jaxgen.measure.start_spread import StartSpread

CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2
"""The share of the intervals that is to miss the truth on either side."""

MIN_BLOCKS = 2
"""Below it nothing tells how far blocks differ, so that there is no interval."""

PROCESSES_FOR_STUDENT = 4
"""From so many pairs of processes on their own means say how far starts differ. Three have a t of
4.3: what calibration knows of starts makes a narrower interval that holds the truth as often."""

WIDER_P = 0.05
"""Below this p the starts of a run are taken to differ more than calibration knows."""

TRIM = 0.2
"""The share of a process's blocks that the trimmed mean leaves out at either end."""


@dataclasses.dataclass(frozen=True)
class Centres:
    """Where each pair of processes of a run lies, as its own blocks say.

    Attributes:
        means: of the log ratio in each pair of processes, shape (..., processes).
        variances: of these means, from the spread of the blocks inside, the same shape.
        freedom: degrees of freedom of the variances, all processes together, shape (...).
    """

    means: np.ndarray
    variances: np.ndarray
    freedom: np.ndarray

    @property
    def count(self) -> int:
        """The number of pairs of processes."""
        return self.means.shape[-1]

    @property
    def centre(self) -> np.ndarray:
        """The estimate of the log ratio, in which every pair of processes counts equally."""
        return self.means.mean(axis=-1)


def centres_of(logs: Nested) -> Centres:
    """Return the mean over blocks of each process, with a variance pooled over all of them.

    Args:
        logs: log ratios, processes of blocks of pairs.
    """
    means, squares, counts = [], 0.0, []
    for process in logs:
        of_blocks, _ = block_means(process)
        mean = of_blocks.mean()
        means.append(mean)
        deviations = of_blocks - mean
        squares += (deviations**2).sum()
        counts.append(len(process))
    numbers = np.array(counts)
    return pooled(np.array(means), np.array(squares), numbers)


def pooled(means: np.ndarray, squares: np.ndarray, counts: np.ndarray) -> Centres:
    """Return centres whose blocks are equally noisy in all processes.

    Args:
        means: over the blocks of each process, shape (..., processes).
        squares: sum of squares of all blocks about the means of their processes, shape (...).
        counts: the number of blocks in each process, shape (..., processes).
    """
    processes = counts.shape[-1]
    freedom = counts.sum(axis=-1) - processes
    # Without any block to spare there is no variance, and `has_inside` says so.
    divisor = np.maximum(freedom, 1)
    variance = squares / divisor
    variances = variance[..., None] / counts
    return Centres(means, variances, freedom)


def trimmed_centres(logs: Nested) -> Centres | None:
    """Return the 20 % trimmed mean over blocks of each process; none where nothing is trimmed.

    Its variance is that of the Winsorised blocks (Tukey and McLaughlin, "Less Vulnerable Confidence
    and Significance Procedures for Location Based on a Single Sample", Sankhya A 25, 1963; Yuen,
    "The Two-Sample Trimmed t for Unequal Population Variances", Biometrika 61, 1974).
    """
    means, variances, freedom = [], [], 0
    for process in logs:
        of_blocks, _ = block_means(process)
        cut = int(TRIM * of_blocks.size)
        if cut == 0:
            return None
        in_order = np.sort(of_blocks)
        inner = in_order[cut:-cut]
        means.append(inner.mean())
        # Of 10 blocks the two lowest become the third lowest, and the two highest alike.
        lowest, highest = inner[0], inner[-1]
        winsorised = np.clip(in_order, lowest, highest)
        deviations = winsorised - winsorised.mean()
        squares = (deviations**2).sum()
        own_freedom = inner.size - 1
        variances.append(squares / (inner.size * own_freedom))
        freedom += own_freedom
    return Centres(np.array(means), np.array(variances), np.array(freedom))


def log_half_width(centres: Centres, start: StartSpread, *, tail: float = TAIL) -> np.ndarray:
    """Return half the width of the interval of the mean log ratio, shape (...).

    With fewer than four pairs of processes it is sqrt(h_in^2 + (t_m s)^2 / P): h_in is Student's
    interval from the blocks inside the P processes, s the deviation of equal arms from start to
    start and t_m Student's t of its m degrees of freedom. A pair of processes is one draw of s that
    no number of blocks averages out. Each part is an interval of its own, and their root sum of
    squares holds the truth at least as often as Welch and Satterthwaite's sum of variances, whose
    degrees of freedom break down where s is known from few starts (Kalibera and Jones, "Rigorous
    Benchmarking in Reasonable Time", ISMM 2013, on levels of repetition).

    With four or more it is Student's t of the processes' own means, and so it is where fewer of
    them differ by more than s and their blocks can explain.

    Args:
        centres: of a run of two or more blocks.
        start: what is known of equal arms in fresh processes.
        tail: the share of the intervals that misses the truth on either side.
    """
    student = student_half_width(centres, tail=tail)
    if not uses_start_spread(centres):
        return student
    inside = _inside_half_width(centres, centres.count, tail=tail)
    outside = start_half_width(start, centres.count, tail=tail)
    combined = np.hypot(inside, outside)
    wider = starts_are_wider(centres, start)
    return np.where(wider, student, combined)


def uses_start_spread(centres: Centres) -> bool:
    """Whether a run's starts are too few to tell by themselves how far starts differ."""
    # With one block in each of several processes nothing is known of what is inside them.
    return centres.count < PROCESSES_FOR_STUDENT and has_inside(centres)


def has_inside(centres: Centres) -> bool:
    """Whether any process has several blocks, whose spread tells something."""
    return bool(np.all(centres.freedom > 0))


def predicted_half_width(
    centres: Centres, start: StartSpread, *, processes: int, tail: float = TAIL
) -> np.ndarray:
    """Return the half width once the remaining pairs of processes are measured, shape (...).

    They are taken to be like the last one: with as many blocks, as noisy, and starts that differ as
    the calibration says.

    Args:
        centres: of the processes until now.
        start: as for `log_half_width`.
        processes: planned, those until now included.
        tail: as for `log_half_width`.
    """
    remaining = processes - centres.count
    if remaining <= 0 or not has_inside(centres):
        return log_half_width(centres, start, tail=tail)
    last = centres.variances[..., -1:]
    more = np.repeat(last, remaining, axis=-1)
    variances = np.concatenate([centres.variances, more], axis=-1)
    if processes < PROCESSES_FOR_STUDENT:
        expected = dataclasses.replace(centres, variances=variances)
        inside = _inside_half_width(expected, processes, tail=tail)
        outside = start_half_width(start, processes, tail=tail)
        return np.hypot(inside, outside)
    # Of one mean: the draw of its start, and the noise of its blocks.
    inside = variances.mean(axis=-1)
    variance = start.deviation**2 + inside
    error = np.sqrt(variance / processes)
    return student_quantile(processes - 1, tail) * error


def starts_are_wider(centres: Centres, start: StartSpread) -> np.ndarray:
    """Whether the processes' means differ by more than calibration and their blocks explain.

    It is an F-test of their variance, one-sided, against the sum of the start's and the blocks'.
    """
    if centres.count == 1 or not uses_start_spread(centres):
        return np.zeros_like(centres.centre, dtype=bool)
    observed = centres.means.var(axis=-1, ddof=1)
    inside = centres.variances.mean(axis=-1)
    ratio = observed / (start.deviation**2 + inside)
    # The fewer of the two degrees of freedom: a false alarm makes an interval of no use.
    freedom = np.minimum(start.freedom, centres.freedom)
    p_value = special.fdtrc(centres.count - 1, freedom, ratio)
    return p_value < WIDER_P


def student_half_width(centres: Centres, *, tail: float = TAIL) -> np.ndarray:
    """Return Student's half width of the mean of the processes' own means; infinite for one."""
    if centres.count == 1:
        return np.full_like(centres.centre, np.inf)
    deviation = centres.means.std(axis=-1, ddof=1)
    error = deviation / np.sqrt(centres.count)
    return student_quantile(centres.count - 1, tail) * error


def _inside_half_width(centres: Centres, processes: int, *, tail: float) -> np.ndarray:
    """Return Student's half width from the blocks inside the processes."""
    variance = centres.variances.sum(axis=-1)
    error = np.sqrt(variance) / processes
    return student_quantile(centres.freedom, tail) * error


def start_half_width(start: StartSpread, processes: int, *, tail: float) -> np.ndarray:
    """Return the part of the half width that the draw of so many starts makes."""
    error = start.deviation / processes**0.5
    return student_quantile(start.freedom, tail) * error


def student_quantile(freedom: int | np.ndarray, tail: float) -> np.ndarray:
    """Return the value that Student's t exceeds in this share of all draws."""
    return -special.stdtrit(freedom, tail)
