"""How fast the device can read memory and multiply matrices: the scale that an arm's own speed is
held against.

Run in the arm's own process, outside any trial. XLA on CPU runs some products on one thread and
others on all, so several forms take turns and the best one counts: a probe that an arm can beat is
worth nothing.

On a mesh all devices are probed at the same time and the rates are those of one: host devices share
a processor.
"""

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import psutil
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

PARTS = 4  # independent products that cores may share out among themselves
WIDTH = 1024
MOST_BYTES = 512 * 2**20  # beyond any cache but a few servers'
SHARE_OF_FREE = 4
CALL_S = 0.005  # a call repeats its passes until it lasts this long: dispatch is then no part of it
ROUNDS = 5
HOPELESS = 1 / 3  # of the best form's first rate: such a form is not tried again
GEMM_SIZES = {"cpu": (512, 1024)}
GEMM_SIZES_ELSEWHERE = (4096, 8192)  # milliseconds on a GPU: dispatch is no part of it

Parts = tuple[Float[Array, "R 1024"], ...]
Scalar = Float[Array, ""]
Form = Callable[[Int[Array, ""]], Any]  # runs that many passes


def probe(nbytes: int, *, dtype: str = "float32", mesh: Mesh | None = None) -> dict[str, Any]:
    """Return the best rates of a few hundred milliseconds, compiling aside.

    A second probe compiles nothing. A machine that others use too is now faster, now slower: probe
    before and after the trials, and let `measure.probed_rates.best_probe` put them together.

    Args:
        nbytes: what the arm touches per step on each device. The probe reads about as much, over
            and over: a small model lives in the processor's caches, and main memory's bandwidth
            would be no limit for it.
        dtype: of the arm's activations, for the matrix product.
        mesh: the arm's; null is the first device alone.

    Returns:
        `bandwidth_bytes_per_s` and `peak_flops_per_s`, the best of all; `bandwidth_samples` and
        `flops_samples`, the best of each round; `bandwidth_form` and `flops_form`, which was best;
        `working_set_bytes`, what was read.
    """
    parts = _working_set(nbytes, mesh)
    nbytes_read = PARTS * parts[0].nbytes
    if mesh is not None:
        nbytes_read //= mesh.size  # of one device
    readers: dict[str, tuple[Form, int]] = {}
    for name, form in _READERS.items():
        readers[name] = (functools.partial(_run, form, mesh, parts), nbytes_read)
    reading = _rates(readers)
    # The parts would take memory from the products.
    del parts, readers
    products = {f"gemm_{size}": _gemm(size, dtype, mesh) for size in _gemm_sizes()}
    multiplying = _rates(products)
    bandwidth = _best_of_rounds(reading)
    flops = _best_of_rounds(multiplying)
    return {
        "bandwidth_bytes_per_s": max(bandwidth),
        "bandwidth_samples": bandwidth,
        "bandwidth_form": _best_form(reading),
        "working_set_bytes": nbytes_read,
        "peak_flops_per_s": max(flops),
        "flops_samples": flops,
        "flops_form": _best_form(multiplying),
    }


def _best_form(rates: dict[str, list[float]]) -> str:
    return max(rates, key=lambda form: max(rates[form]))


def _working_set(nbytes: int, mesh: Mesh | None = None) -> Parts:
    """Return four equal arrays of about `nbytes` in all on each device.

    They are smaller where that is more than may be taken of the free memory.
    """
    devices = mesh.size if mesh else 1
    # Host devices share the machine's memory; a GPU's own is asked for below.
    free = psutil.virtual_memory().available // devices
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        free_on_device = stats["bytes_limit"] - stats["bytes_in_use"]
        free = min(free, free_on_device)
    nbytes = min(nbytes, MOST_BYTES, free // SHARE_OF_FREE)
    # 64 MiB are 4 parts of 4096 rows: 4096 * 1024 float32 are 16 MiB each.
    rows = max(nbytes // (PARTS * WIDTH * 4), 1)
    shape, sharding = (devices * rows, WIDTH), _shared_out(mesh)
    parts = [jnp.ones(shape, jnp.float32, device=sharding) for _ in range(PARTS)]
    return jax.block_until_ready(tuple(parts))


def _shared_out(mesh: Mesh | None) -> NamedSharding | None:
    """Of an array with as many rows on each device."""
    return NamedSharding(mesh, PartitionSpec(mesh.axis_names)) if mesh else None


def _run(
    form: Callable[..., Array], mesh: Mesh | None, parts: tuple[Array, ...], *passes: Int[Array, ""]
) -> Array:
    """One call, by the first device or by each device of a mesh with its own rows."""
    return form(parts, *passes) if mesh is None else _by_each(form, mesh, parts, *passes)


@functools.partial(
    jax.jit, static_argnums=(0, 1)
)  # the form and the mesh; traced: parts and passes
def _by_each(
    form: Callable[..., Array], mesh: Mesh, parts: tuple[Array, ...], *passes: Int[Array, ""]
) -> Array:
    """No device waits for another within a call."""
    own, same = PartitionSpec(mesh.axis_names), PartitionSpec()
    return jax.shard_map(
        lambda *given: jnp.atleast_1d(form(*given)),
        mesh=mesh,
        in_specs=(own, *(same for _ in passes)),
        out_specs=own,
        check_vma=False,
    )(parts, *passes)


def _rates(forms: dict[str, tuple[Form, int]]) -> dict[str, list[float]]:
    """Return the work per second of each form that may be the best, round by round.

    The forms take turns, since the machine's speed drifts.
    """
    passes, first = {}, {}
    for name, (form, work) in forms.items():
        _call_s(form, 1)  # compiles
        once_s = _call_s(form, 1)
        # A pass of 0.2 ms is made 25 times in a call: a dispatch of 20 us is then 0.4 % of it, not
        # 10 %.
        passes[name] = max(1, round(CALL_S / once_s))
        first[name] = work / once_s
    # Each form kept takes its turn in each round; slow ones would only make the probe longer.
    least = HOPELESS * max(first.values())
    rates: dict[str, list[float]] = {name: [] for name in forms if first[name] > least}
    for _ in range(ROUNDS):
        for name, samples in rates.items():
            form, work = forms[name]
            samples.append(work * passes[name] / _call_s(form, passes[name]))
    return rates


def _call_s(form: Form, passes: int) -> float:
    # An array, so that a reader is compiled once for any number of passes; placed before the clock.
    count = jax.block_until_ready(jnp.int32(passes))
    start = time.perf_counter()
    jax.block_until_ready(form(count))
    return time.perf_counter() - start


def _best_of_rounds(rates: dict[str, list[float]]) -> list[float]:
    return [max(of_round) for of_round in zip(*rates.values(), strict=True)]


def _gemm_sizes() -> tuple[int, ...]:
    return GEMM_SIZES.get(jax.default_backend(), GEMM_SIZES_ELSEWHERE)


def _gemm(size: int, dtype: str, mesh: Mesh | None) -> tuple[Form, int]:
    """Products of two square matrices, and the FLOPs of one."""
    # Each device has a square of its own, as `_by_each` gives it the rows that it holds.
    shape = (size * (mesh.size if mesh else 1), size)
    square = jax.block_until_ready(jnp.full(shape, 1 / size, dtype, device=_shared_out(mesh)))

    def products(passes: Int[Array, ""]) -> list[Array]:
        # Queued one behind the other: the device goes on without a gap while Python queues the
        # next.
        return [_run(_product, mesh, (square, square)) for _ in range(int(passes))]

    return products, 2 * size**3


@jax.jit  # all traced; each pass needs the one before, so that none can be left out
def _matvecs_in_turn(parts: Parts, passes: Int[Array, ""]) -> Scalar:
    def once(_, at: Scalar) -> Scalar:
        for part in parts:
            # Ones times ones over their number stay 1, so that nothing overflows. XLA cannot know
            # it, and so leaves no pass out.
            at = (part @ jnp.full((WIDTH,), at)).max() / WIDTH
        return at

    return jax.lax.fori_loop(0, passes, once, jnp.float32(1))


@jax.jit  # as above
def _matvecs_at_once(parts: Parts, passes: Int[Array, ""]) -> Scalar:
    def once(_, at: Scalar) -> Scalar:
        vector = jnp.full((WIDTH,), at)
        return jnp.stack([(part @ vector).max() for part in parts]).max() / WIDTH

    return jax.lax.fori_loop(0, passes, once, jnp.float32(1))


@jax.jit  # as above
def _vecmats(parts: Parts, passes: Int[Array, ""]) -> Scalar:
    rows = parts[0].shape[0]

    def once(_, at: Scalar) -> Scalar:
        vector = jnp.full((rows,), at)
        return jnp.stack([(vector @ part).max() for part in parts]).max() / rows

    return jax.lax.fori_loop(0, passes, once, jnp.float32(1))


@jax.jit  # as above
def _sums(parts: Parts, passes: Int[Array, ""]) -> Scalar:
    def once(_, at: Scalar) -> Scalar:
        return jnp.stack([jnp.maximum(part, at).sum() for part in parts]).max() / parts[0].size

    return jax.lax.fori_loop(0, passes, once, jnp.float32(1))


@jax.jit  # all traced; not in a loop, whose carry XLA on CPU would copy
def _product(pair: tuple[Float[Array, "R R"], Float[Array, "R R"]]) -> Float[Array, "R R"]:
    return pair[0] @ pair[1]


_READERS: dict[str, Callable[[Parts, Int[Array, ""]], Array]] = {
    "matvecs_in_turn": _matvecs_in_turn,
    "matvecs_at_once": _matvecs_at_once,
    "vecmats": _vecmats,
    "sums": _sums,
}
