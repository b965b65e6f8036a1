"""The processor as made-up system files tell it, and as nobody tells it."""

import pytest

from jaxgen.machine import cgroup, processor

FILES = {
    "proc/cpuinfo": (
        "processor : 0\ncpu family\t: 25\nmodel\t\t: 1\nmodel name : AMD EPYC\nstepping : 1\n"
        "microcode : 0x1000065\n\nprocessor : 1\nmicrocode : 0x2\n"
    ),
    "proc/sys/kernel/randomize_va_space": "2\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "sys/devices/system/cpu/smt/control": "off\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
    "sys/devices/system/cpu/cpufreq/boost": "0\n",
}
CACHES = [("1", "Data", "32K"), ("1", "Instruction", "32K"), ("2", "Unified", "512K")]
THIRD = ("3", "Unified", "32768K")


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Writes a system's files below a folder, which is all that is read."""
    monkeypatch.setattr(processor, "ROOT", tmp_path)
    monkeypatch.setattr(cgroup, "ROOT", tmp_path)

    def write(files=(), caches=()):
        texts = dict(files)
        for number, (level, kind, size) in enumerate(caches):
            folder = f"sys/devices/system/cpu/cpu0/cache/index{number}"
            texts |= {
                f"{folder}/level": level,
                f"{folder}/type": kind,
                f"{folder}/size": size + "\n",
            }
        for name, text in texts.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


def test_what_the_system_tells_is_read(system, monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    system(FILES, [*CACHES, THIRD])
    facts = processor.facts()
    assert facts.pop("affinity")
    assert facts == {
        "family": "25",
        "model": "1",
        "stepping": "1",
        "microcode": "0x1000065",
        "cache_bytes": {"L1d": 32 * 2**10, "L2": 512 * 2**10, "L3": 32 * 2**20},
        "governor": "powersave",
        "turbo": False,
        "smt": "off",
        "transparent_huge_pages": "madvise",
        "cpu_limit": None,
        "python_hash_seed": "0",
        "address_space_randomisation": 2,
    }


def test_what_it_does_not_tell_is_null(system, monkeypatch):
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    facts = processor.facts()
    del facts["affinity"]
    assert set(facts.values()) == {None}


@pytest.mark.parametrize(("no_turbo", "turbo"), [("0", True), ("1", False), ("?", None)])
def test_intel_s_switch_turns_turbo_off(no_turbo, turbo, system):
    system({"sys/devices/system/cpu/intel_pstate/no_turbo": no_turbo})
    assert processor.facts()["turbo"] is turbo


@pytest.mark.parametrize(
    ("nbytes", "level"),
    [(30_000, "L1d"), (400_000, "L2"), (11.8e6, "L3"), (33.6e6, "memory"), (500e6, "memory")],
)
def test_bytes_are_read_from_the_smallest_cache_that_holds_them(nbytes, level, system):
    system(caches=[*CACHES, THIRD])
    assert processor.level_of(nbytes, platform="cpu") == level


def test_beyond_the_last_known_cache_it_may_be_another_cache(system):
    system(caches=CACHES)
    assert processor.level_of(400_000, platform="cpu") == "L2"
    assert processor.level_of(11.8e6, platform="cpu") is None


def test_of_an_accelerator_only_what_no_cache_holds_is_known(system):
    system(caches=[*CACHES, THIRD])
    assert processor.level_of(10e6, platform="gpu") is None
    assert processor.level_of(2e9, platform="gpu") == "memory"
