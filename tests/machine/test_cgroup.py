"""A container's limit of the processor, from made-up trees of control groups."""

import pytest

from jaxgen.machine import cgroup


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Writes the list of this process's groups; all that is read is below the test's folder."""
    monkeypatch.setattr(cgroup, "ROOT", tmp_path)

    def write(lines):
        path = tmp_path / "proc/self/cgroup"
        path.parent.mkdir(parents=True)
        path.write_text(lines)

    return write


def group(root, path, **files):
    """Write the files of one group below the mount."""
    folder = root / "sys/fs/cgroup" / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_dot_", ".", 1)).write_text(text)


STAT_2 = "usage_usec 9\nnr_periods 40\nnr_throttled 3\nthrottled_usec 250000\n"
STAT_1 = "nr_periods 40\nnr_throttled 3\nthrottled_time 250000000\n"


class TestVersion2:
    def test_the_smallest_limit_of_all_groups_around_counts(self, tree, tmp_path):
        tree("0::/pod/one\n")
        group(tmp_path, "pod/one", cpu_dot_max="400000 100000\n", cpu_dot_stat=STAT_2)
        group(tmp_path, "pod", cpu_dot_max="150000 100000\n")
        assert cgroup.cpu_limit() == 1.5
        assert cgroup.throttled_s() == 0.25

    def test_max_is_no_limit(self, tree, tmp_path):
        tree("0::/\n")
        group(tmp_path, "", cpu_dot_max="max 100000\n", cpu_dot_stat="usage_usec 9\n")
        assert cgroup.cpu_limit() is None
        assert cgroup.throttled_s() is None

    def test_a_path_of_the_host_that_is_not_mounted_here_means_the_mount_itself(
        self, tree, tmp_path
    ):
        tree("0::/kubepods/burstable/pod7\n")
        group(tmp_path, "", cpu_dot_max="50000 100000\n", cpu_dot_stat=STAT_2)
        assert cgroup.cpu_limit() == 0.5
        assert cgroup.throttled_s() == 0.25


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
class TestVersion1:
    def test_its_own_files_and_units_are_read(self, mount, tree, tmp_path):
        tree(f"8:memory:/x\n2:{mount}:/pod\n0::/\n")
        files = {"cpu_dot_cfs_quota_us": "300000\n", "cpu_dot_cfs_period_us": "100000\n"}
        group(tmp_path, f"{mount}/pod", cpu_dot_stat=STAT_1, **files)
        assert cgroup.cpu_limit() == 3.0
        assert cgroup.throttled_s() == 0.25

    def test_minus_one_is_no_limit(self, mount, tree, tmp_path):
        tree(f"2:{mount}:/\n")
        files = {"cpu_dot_cfs_quota_us": "-1\n", "cpu_dot_cfs_period_us": "100000\n"}
        group(tmp_path, mount, **files)
        assert cgroup.cpu_limit() is None


def test_a_system_without_control_groups_knows_nothing(tree):
    assert cgroup.cpu_limit() is None
    assert cgroup.throttled_s() is None


def test_damaged_files_are_unknown(tree, tmp_path):
    tree("0::/\n")
    group(tmp_path, "", cpu_dot_max="many\n", cpu_dot_stat="nr_throttled many\n")
    assert cgroup.cpu_limit() is None
    assert cgroup.throttled_s() is None
