"""Versions as distributions write them, and the table of floors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.doctor.finding import Severity, Status
from ogpu_provider.doctor.floors import table
from ogpu_provider.doctor.judgement import by_floor, size
from ogpu_provider.doctor.version import Version, parse

LADDER = ["1.1.5+ds1", "1.2.7", "1.2.8-rc.1", "1:1.2.8-1", "1.3.3-0ubuntu1~22.04.3", "1.4.0~rc2", "v1.4.0", "2.0"]


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("1:1.19.1-1", "1.19.1"),
        ("1.3.3-0ubuntu1~22.04.3", "1.3.3"),
        ("20.10.24+dfsg1", "20.10.24"),
        ("1.6.20~ds1-1+deb12u3", "1.6.20"),
        ("29.0.0-rc.2", "29.0.0-rc2"),
        ("5.0.0rc2", "5.0.0-rc2"),
        ("v2.40.3-desktop.1", "2.40.3"),
        ("6.18.44-fc-v657", "6.18.44"),
        ("5.15.0-91-generic", "5.15.0"),
        ("NVIDIA Container Toolkit CLI version 1.17.8\ncommit: f202b80", "1.17.8"),
        ("NVIDIA Container Runtime version 1.17.8~rc.1", "1.17.8-rc1"),
        ("595.71.05", "595.71.5"),
        ("3:29.9.0-1~debian.12~bookworm", "29.9.0"),
        ("28.2.2-ce, build e6534b4", "28.2.2"),
    ],
)
def test_distribution_marks_are_no_part_of_a_version(text: str, release: str) -> None:
    assert str(parse(text)) == release


@pytest.mark.parametrize("text", ["", "unknown", "library-import", "-"])
def test_what_is_no_version_is_none(text: str) -> None:
    assert parse(text) is None


def test_order() -> None:
    parsed = [parse(text) for text in LADDER]
    versions = [version for version in parsed if version is not None]
    assert len(versions) == len(LADDER)
    assert versions == sorted(versions)
    assert parse("29.7") == parse("29.7.0")
    assert hash(parse("29.7")) == hash(parse("29.7.0"))


@given(st.lists(st.integers(0, 999), min_size=1, max_size=4), st.integers(0, 9), st.text("abc.~+-", max_size=8))
def test_epoch_and_revision_never_change_the_order(numbers: list[int], epoch: int, mark: str) -> None:
    plain = ".".join(map(str, numbers))
    assert parse(f"{epoch}:{plain}-1{mark}") == parse(plain) == Version(tuple(numbers))


@pytest.mark.parametrize(
    ("component", "version", "severity"),
    [
        ("engine", "29.9.0", None),
        ("engine", "1:29.10.1-1~debian.13~trixie", None),
        ("engine", "30.0.0", None),
        ("engine", "29.9.0-rc.1", Severity.WARNING),
        ("engine", "29.7.0", Severity.WARNING),
        ("engine", "28.5.2", Severity.WARNING),
        ("engine", "20.10.24+dfsg1", Severity.WARNING),
        ("engine", "19.03.8", Severity.ERROR),
        ("compose", "2.40.2", None),
        ("compose", "5.0.0", None),
        ("compose", "2.40.1", Severity.WARNING),
        ("compose", "2.19.9", Severity.ERROR),
        ("runc", "1.1.15", Severity.WARNING),
        ("runc", "1.2.7", Severity.WARNING),
        ("runc", "1.2.8", None),
        ("runc", "1.3.2", Severity.WARNING),
        ("runc", "1.3.3-0ubuntu1~22.04.3", None),
        ("runc", "1.4.0-rc.2", Severity.WARNING),
        ("runc", "1.5.0", None),
        ("nvidia_toolkit", "1:1.19.1-1", None),
        ("nvidia_toolkit", "1.19.0", Severity.WARNING),
        ("nvidia_toolkit", "1.13.5", Severity.ERROR),
        ("nvidia_driver", "535.288.01", None),
        ("nvidia_driver", "570.211.01", Severity.WARNING),
        ("nvidia_driver", "560.35.05", Severity.WARNING),
        ("nvidia_driver", "610.10", None),
        ("nvidia_driver", "390.157", Severity.ERROR),
        ("kernel", "6.1.0-40-amd64", None),
        ("kernel", "4.19.0-27-amd64", Severity.WARNING),
    ],
)
def test_floors(component: str, version: str, severity: Severity | None) -> None:
    seen = by_floor(component, version)
    assert seen.severity is severity
    assert seen.status is (Status.OK if severity is None else Status.FAILED)


def test_every_issue_of_an_engine_before_them_all_is_named() -> None:
    floor = table()["engine"]
    oldest, newest = parse("20.10"), parse(floor.wanted)
    assert oldest is not None
    assert newest is not None
    assert len(floor.holes(oldest)) == len(floor.issues)
    assert floor.holes(newest) == []


def test_what_is_no_version_cannot_be_judged() -> None:
    assert by_floor("runc", "library-import").status is Status.UNKNOWN


def test_sizes() -> None:
    assert [size(n) for n in (12, 2048, 3 << 20, 5 << 30, 3 << 40)] == [
        "12 B",
        "2.0 KiB",
        "3.0 MiB",
        "5.0 GiB",
        "3.0 TiB",
    ]
