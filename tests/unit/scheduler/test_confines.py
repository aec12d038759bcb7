from pathlib import Path

import pytest

from ogpu_provider.scheduler.confines import Confines, confines


def tree(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


@pytest.mark.parametrize(
    ("cpu", "memory", "expected"),
    [
        ("150000 100000", str(4 << 30), Confines(1.5, 4 << 30)),
        ("max 100000", "max", Confines()),
        ("", "", Confines()),
        ("50000 100000", "max", Confines(0.5, None)),
    ],
)
def test_limits_of_a_container_under_version_two(tmp_path: Path, cpu: str, memory: str, expected: Confines) -> None:
    tree(tmp_path, cgroup_dot_controllers="cpu memory", cpu_dot_max=cpu, memory_dot_max=memory)
    assert confines(tmp_path) == expected


@pytest.mark.parametrize(
    ("quota", "memory", "expected"),
    [("200000", str(1 << 30), Confines(2.0, 1 << 30)), ("-1", "9223372036854771712", Confines())],
)
def test_limits_of_a_container_under_version_one(tmp_path: Path, quota: str, memory: str, expected: Confines) -> None:
    tree(tmp_path, cpu__cpu_dot_cfs_quota_us=quota, cpu__cpu_dot_cfs_period_us="100000")
    tree(tmp_path, memory__memory_dot_limit_in_bytes=memory)
    assert confines(tmp_path) == expected


def test_a_host_has_none(tmp_path: Path) -> None:
    assert confines(tmp_path) == Confines()
    assert confines(tree(tmp_path, cgroup_dot_controllers="cpu")) == Confines()
