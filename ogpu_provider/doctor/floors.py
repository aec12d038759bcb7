"""The table of version floors, `floors.toml`, and the question put to it. Pure but for reading that file once."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from ogpu_provider.doctor.version import Version, parse


@dataclass(frozen=True, slots=True)
class Issue:
    """A hole, and the versions that close it, one for each branch, ascending."""

    fixed: tuple[Version, ...]
    reason: str

    def open_in(self, version: Version) -> bool:
        """A branch older than all fixed ones was never mended; one newer than all of them has the fix."""
        floor = next((fixed for fixed in reversed(self.fixed) if fixed.branch <= version.branch), None)
        if floor is None:
            return True
        if floor == self.fixed[-1] or floor.branch == version.branch:
            return version < floor
        return True  # between two branches that were mended


@dataclass(frozen=True, slots=True)
class Floor:
    component: str
    name: str
    works: Version
    issues: tuple[Issue, ...] = ()
    maintained: tuple[int, ...] = ()
    unmaintained: str = ""

    @property
    def wanted(self) -> str:
        """The newest version that closes everything in the table."""
        newest = max((issue.fixed[-1] for issue in self.issues), default=self.works)
        return str(newest)

    def usable(self, version: Version) -> bool:
        return version >= self.works

    def holes(self, version: Version) -> list[str]:
        """Why this version should not be used, newest reason last."""
        found = [issue.reason for issue in self.issues if issue.open_in(version)]
        major = version.numbers[0]
        if self.maintained and major not in self.maintained and major < max(self.maintained):
            found.append(self.unmaintained)
        return found


@cache
def table() -> dict[str, Floor]:
    text = resources.files("ogpu_provider.doctor").joinpath("floors.toml").read_text("utf-8")
    return {component: _floor(component, row) for component, row in tomllib.loads(text).items()}


def _floor(component: str, row: dict[str, object]) -> Floor:
    issues = row.get("issue", [])
    maintained = row.get("maintained", [])
    assert isinstance(issues, list)
    assert isinstance(maintained, list)
    return Floor(
        component=component,
        name=str(row["name"]),
        works=_version(row["works"]),
        issues=tuple(Issue(tuple(map(_version, issue["fixed"])), str(issue["reason"])) for issue in issues),
        maintained=tuple(map(int, maintained)),
        unmaintained=str(row.get("unmaintained", "")),
    )


def _version(text: object) -> Version:
    version = parse(str(text))
    if version is None:
        raise ValueError(f"floors.toml: {text!r} is not a version")
    return version
