"""Programs that one process leaves to the next: written behind the clock, found in a warm-up."""

import jax
import jax.numpy as jnp
import pytest

from jaxgen.worker import program_cache
from jaxgen.worker.program_cache import finding, leaving

DIRECTORY = "jax_compilation_cache_dir"


def call():
    """Compile and run a program that jit cannot have kept: it is a new function."""

    def program(x):
        return jnp.tanh(x @ x)

    jax.jit(program)(jnp.ones((4, 4), jnp.float32))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "programs"


@pytest.fixture
def compiled(ledger):
    """Call the program inside a block; return `{compiles, hits, misses}`."""
    jnp.ones((4, 4), jnp.float32)

    def compiled(block):
        with block:
            mark = ledger.mark()
            call()
            window = ledger.since(mark)
        return {kind: window.count(kind) for kind in ("compile", "hit", "miss")}

    return compiled


def names_in(folder):
    return [path.name for path in folder.iterdir()] if folder.exists() else []


def test_what_is_left_is_found(folder, compiled):
    # While it is timed nothing is read and nothing is written, so that there is no miss either.
    assert compiled(leaving(str(folder))) == {"compile": 1, "hit": 0, "miss": 0}
    assert len(names_in(folder)) == 1
    assert compiled(finding(str(folder))) == {"compile": 1, "hit": 1, "miss": 0}


def test_nothing_is_written_before_the_block_is_done(folder):
    with leaving(str(folder)):
        call()
        assert names_in(folder) == []
    assert len(names_in(folder)) == 1


def test_outside_the_block_everything_compiles(folder, compiled):
    compiled(leaving(str(folder)))
    compiled(finding(str(folder)))
    assert compiled(leaving(None)) == {"compile": 1, "hit": 0, "miss": 0}
    assert getattr(jax.config, DIRECTORY) is None


def test_one_that_leaves_programs_does_not_find_those_of_others(folder, compiled):
    compiled(leaving(str(folder)))
    assert compiled(leaving(str(folder)))["hit"] == 0


def test_what_is_not_found_is_compiled_and_not_written(folder, compiled):
    folder.mkdir()
    assert compiled(finding(str(folder))) == {"compile": 1, "hit": 0, "miss": 0}
    assert names_in(folder) == []


def test_an_error_leaves_the_settings_as_they_were(folder):
    names = (DIRECTORY, "jax_persistent_cache_min_compile_time_secs")
    before = [getattr(jax.config, name) for name in names]
    for block in (leaving, finding):
        with pytest.raises(ZeroDivisionError), block(str(folder)):
            raise ZeroDivisionError
    assert [getattr(jax.config, name) for name in names] == before
    assert names_in(folder) == []


class TestLeftAlone:
    def test_a_cache_that_the_user_has_set(self, folder, tmp_path, compiled):
        own = tmp_path / "own"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(program_cache.compilation_cache, "reset_cache", pytest.fail)
            jax.config.update(DIRECTORY, str(own))
            try:
                for block in (leaving, finding):
                    compiled(block(str(folder)))
                assert getattr(jax.config, DIRECTORY) == str(own)
            finally:
                jax.config.update(DIRECTORY, None)
        program_cache.compilation_cache.reset_cache()
        assert names_in(folder) == []

    def test_a_cache_that_the_user_has_switched_off(self, folder, compiled):
        jax.config.update("jax_enable_compilation_cache", False)
        try:
            compiled(leaving(str(folder)))
        finally:
            jax.config.update("jax_enable_compilation_cache", True)
        assert names_in(folder) == []

    def test_a_platform_that_chooses_its_kernels_by_their_time(self, folder, compiled, monkeypatch):
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
        assert compiled(leaving(str(folder))) == {"compile": 1, "hit": 0, "miss": 0}
        assert names_in(folder) == []
