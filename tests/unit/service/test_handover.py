"""What root wrote for the service, before there was its user or after."""

import os
import stat
import subprocess
from pathlib import Path, PurePosixPath

import pytest

from ogpu_provider import configfile
from ogpu_provider.config import load
from ogpu_provider.domain.errors import ConfigError
from ogpu_provider.service import handover, installation, unit
from ogpu_provider.service.handover import Owner

PLAN = unit.Plan(PurePosixPath("/opt/ogpu-provider/bin/ogpu-provider"), ("172.17.0.1", 20755))
OGPU = Owner(4711, 4712)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    if os.geteuid() != 0:
        pytest.fail("needs root") if os.environ.get("CI") == "true" else pytest.skip("needs root")
    tmp_path.chmod(0o755)
    (tmp_path / "etc/ogpu-provider").mkdir(parents=True)
    (tmp_path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nogpu:x:4711:4712::/:/usr/sbin/nologin\n")
    (tmp_path / "etc/group").write_text("docker:x:102:\n")
    (tmp_path / "var/lib/ogpu-provider/logs").mkdir(parents=True)
    return tmp_path


def settings_by_root(root: Path) -> Path:
    """As `register` of root writes them."""
    path = root / "etc/ogpu-provider/config.toml"
    configfile.amend(path, {"wallet.password_file": str(unit.PASSWORD), "data_dir": str(PLAN.data_dir)})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return path


def readable(path: Path) -> bool:
    """For the service's user, as the kernel sees it."""
    words = ["setpriv", "--reuid", str(OGPU.uid), "--regid", str(OGPU.gid), "--clear-groups", "cat", path.name]
    return subprocess.run(words, cwd=path.parent, capture_output=True, check=False).returncode == 0


async def test_settings_of_root_become_readable_for_the_service_and_for_no_other(root: Path) -> None:
    path = settings_by_root(root)
    assert not readable(path)
    report = await installation.install(PLAN, root)
    assert readable(path)
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, OGPU.gid, 0o640)
    assert report.handed[0] == str(path)
    assert str(path) in report.kept
    wallet = load(path, environ={}).settings.wallet
    assert (wallet.password_file, wallet.password_credential) == (None, unit.CREDENTIAL), "its file is root's"


async def test_the_first_settings_are_not_for_everybodys_eyes(root: Path) -> None:
    await installation.install(PLAN, root)
    found = (root / "etc/ogpu-provider/config.toml").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, OGPU.gid, 0o640)


async def test_a_change_of_a_setting_leaves_them_readable(root: Path) -> None:
    path = settings_by_root(root)
    await installation.install(PLAN, root)
    assert configfile.amend(path, {"sources.serve": "all"})
    assert readable(path)


async def test_what_root_made_in_the_data_directory_is_the_services(root: Path) -> None:
    data = root / "var/lib/ogpu-provider"
    for name in ("keystore.json", "provider.db", "logs/0x1.log"):
        (data / name).touch(mode=0o600)
    report = await installation.install(PLAN, root)
    owned = [data, data / "logs", data / "keystore.json", data / "provider.db", data / "logs/0x1.log"]
    assert {(p.stat().st_uid, p.stat().st_gid) for p in owned} == {(OGPU.uid, OGPU.gid)}
    assert {str(p) for p in owned} <= set(report.handed)
    assert stat.S_IMODE((data / "keystore.json").stat().st_mode) == 0o600
    assert (await installation.install(PLAN, root)).handed == [], "a second time there is nothing to do"


def test_links_and_what_is_not_roots_are_left_alone(root: Path) -> None:
    data, outside = root / "var/lib/ogpu-provider", root / "etc/shadow"
    outside.touch(mode=0o600)
    (data / "keystore.json").symlink_to(outside)
    os.link(outside, data / "provider.db")
    (data / "other").touch()
    os.chown(data / "other", 12, 12)
    os.mkfifo(data / "pipe")
    handed = handover.hand_over(PLAN, root, OGPU)
    assert handed == [str(data), str(data / "logs")]
    assert (outside.stat().st_uid, (data / "other").stat().st_uid) == (0, 12)


async def test_settings_behind_a_link_are_not_followed(root: Path) -> None:
    path = root / "etc/ogpu-provider/config.toml"
    path.symlink_to(root / "etc/passwd")
    with pytest.raises(ConfigError) as refused:
        await installation.install(PLAN, root)
    assert refused.value.code == "service.not_handed_over"
    assert (root / "etc/passwd").stat().st_gid == 0


def test_a_rehearsal_names_what_it_would_hand_over_and_does_not(root: Path) -> None:
    path = settings_by_root(root)
    handed = handover.hand_over(PLAN, root, OGPU, rehearse=True)
    assert str(path) in handed
    assert (path.stat().st_gid, (root / "var/lib/ogpu-provider").stat().st_uid) == (0, 0)


def test_without_the_user_there_is_nobody_to_hand_over_to(root: Path) -> None:
    assert handover.owner_of("ogpu", root) == OGPU
    assert handover.owner_of("nobody-here", root) is None
    assert handover.owner_of("ogpu", root / "empty") is None
