"""Gives the service's own user what root wrote for it: settings to read, and the data directory."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ogpu_provider import configfile
from ogpu_provider.service import unit

SETTINGS_MODE = 0o640
"""Root's, and readable by the service's group: a URL in there may hold a key."""


@dataclass(frozen=True, slots=True)
class Owner:
    uid: int
    gid: int


def owner_of(user: str, root: Path) -> Owner | None:
    """The user of the system below `root`; None if it has none of that name."""
    try:
        lines = (root / "etc/passwd").read_text().splitlines()
    except OSError:
        return None
    rows = (line.split(":") for line in lines)
    return next((Owner(int(row[2]), int(row[3])) for row in rows if row[0] == user and len(row) > 3), None)


def hand_over(plan: unit.Plan, root: Path, owner: Owner, *, rehearse: bool = False) -> list[str]:
    """Returns the paths that changed hands, or would. Run by root, when the service is not being installed by others.

    What does not belong to root is left alone, and so is every link: the service's user could have put it there.
    """
    handed = list(_settings(root / plan.settings.relative_to("/"), plan, owner, rehearse))
    return handed + sorted(_data(root / plan.data_dir.relative_to("/"), owner, rehearse))


def _settings(path: Path, plan: unit.Plan, owner: Owner, rehearse: bool) -> Iterator[str]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        found = os.fstat(descriptor)
        if (found.st_gid, stat.S_IMODE(found.st_mode)) != (owner.gid, SETTINGS_MODE) and found.st_uid != owner.uid:
            yield str(path)
            if not rehearse:
                os.fchown(descriptor, -1, owner.gid)
                os.fchmod(descriptor, SETTINGS_MODE)
    finally:
        os.close(descriptor)
    if not rehearse:
        _point_to_credential(path, plan)


def _point_to_credential(path: Path, plan: unit.Plan) -> None:
    """The password's file is root's: the service reads it as a credential only. Raises ConfigError."""
    wallet = configfile.read(path)[1].get("wallet", {})
    if isinstance(wallet, dict) and wallet.get("password_file") == str(plan.password):
        configfile.amend(path, {"wallet.password_file": None, "wallet.password_credential": unit.CREDENTIAL})


def _data(top: Path, owner: Owner, rehearse: bool) -> Iterator[str]:
    if not top.is_dir() or top.is_symlink():
        return
    for folder, _, names, descriptor in os.fwalk(top, follow_symlinks=False):
        if os.fstat(descriptor).st_uid == 0:
            yield folder
            if not rehearse:
                os.fchown(descriptor, owner.uid, owner.gid)
        for name in names:
            if _file(name, descriptor, owner, rehearse):
                yield os.path.join(folder, name)


def _file(name: str, folder: int, owner: Owner, rehearse: bool) -> bool:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:  # a link, a socket, or gone
        return False
    try:
        found = os.fstat(descriptor)
        ours = stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_uid == 0
        if ours and not rehearse:
            os.fchown(descriptor, owner.uid, owner.gid)
        return ours
    finally:
        os.close(descriptor)
