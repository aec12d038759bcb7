import json
import shutil
import subprocess
from pathlib import Path, PurePosixPath

import pytest

from ogpu_provider.cli.main import invoke
from ogpu_provider.config import load
from ogpu_provider.domain.errors import ConfigError
from ogpu_provider.service import installation, unit

PLAN = unit.Plan(PurePosixPath("/opt/ogpu-provider/bin/ogpu-provider"), ("172.17.0.1", 20755))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/group").write_text("root:x:0:\ndocker:x:102:\nrender:x:103:\n")
    (tmp_path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    return tmp_path


def needs(program: str) -> str:
    """Its path. Without it the test is skipped, and fails where CI=true."""
    found = shutil.which(program)
    if found is None:
        import os

        if os.environ.get("CI") == "true":
            pytest.fail(f"{program} is not installed", pytrace=False)
        pytest.skip(f"{program} is not installed")
    return found


async def test_the_unit_is_confined_by_systemds_own_measure(root: Path) -> None:
    analyze = needs("systemd-analyze")
    await installation.install(PLAN, root)
    path = root / "etc/systemd/system/ogpu-provider.service"
    command = [analyze, "security", "--no-pager", "--offline=true", "--threshold=20", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


def test_the_services_user_may_take_the_lock_of_the_older_iptables() -> None:
    """As the unit does it, in a /run and a network that end with the test."""
    for program in ("iptables-legacy-restore", "unshare", "setpriv"):
        needs(program)
    prepared = next(line for line in unit.service(PLAN).splitlines() if line.startswith("ExecStartPre=+"))
    prepare = prepared.removeprefix("ExecStartPre=+").replace("$$", "$").replace("id -g ogpu", "id -g nobody")
    rights = "--inh-caps +net_admin,+net_raw --ambient-caps +net_admin,+net_raw"
    restore = f"setpriv --reuid nobody --regid nogroup --clear-groups {rights} iptables-legacy-restore --noflush -w 5"
    restore = rf"printf '*filter\nCOMMIT\n' | {restore}"
    script = f"mount -t tmpfs -o mode=0755 tmpfs /run; ! {restore}; {prepare}; mount -o remount,ro /run; {restore}"
    words = ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-ec", script]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("xtables.lock") == 1, "without it, the lock is what is missing"


async def test_systemd_reads_the_units_without_a_complaint(root: Path) -> None:
    analyze = needs("systemd-analyze")
    program = root / "opt/ogpu-provider"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    await installation.install(unit.Plan(PurePosixPath("/bin/true"), ("::1", 20755)), root)
    paths = [str(root / "etc/systemd/system" / f"ogpu-provider.{kind}") for kind in ("service", "socket")]
    done = subprocess.run([analyze, "verify", "--man=no", *paths], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if "ogpu-provider" in line]
    assert complaints == []


async def test_sysusers_makes_the_user_with_its_groups(root: Path) -> None:
    sysusers = needs("systemd-sysusers")
    plan = unit.Plan(PLAN.program, PLAN.callback, user="gpuhost", groups=installation.groups(root))
    await installation.install(plan, root)
    subprocess.run([sysusers, f"--root={root}", "ogpu-provider.conf"], check=True, capture_output=True)
    passwd, group = (root / "etc/passwd").read_text(), (root / "etc/group").read_text()
    assert "gpuhost:" in passwd
    assert "nologin" in passwd
    assert "docker:x:102:gpuhost" in group
    assert "render:x:103:gpuhost" in group
    assert plan.groups == ("docker", "render"), "a group that is not there would keep the service from starting"


async def test_the_first_settings_are_good_ones_and_are_never_overwritten(root: Path) -> None:
    report = await installation.install(PLAN, root)
    path = root / "etc/ogpu-provider/config.toml"
    settings = load(path, environ={}).settings
    assert str(settings.data_dir) == "/var/lib/ogpu-provider"
    assert settings.wallet.password_credential == unit.CREDENTIAL
    assert f"LoadCredential={unit.CREDENTIAL}:" in unit.service(PLAN)
    assert report.commands == [], "nothing is started for another root"
    path.write_text("# the operator's\n")
    again = await installation.install(PLAN, root)
    assert path.read_text() == "# the operator's\n"
    assert again.kept == [str(path)]


async def test_uninstall_leaves_keys_settings_and_data(root: Path) -> None:
    await installation.install(PLAN, root)
    data = root / "var/lib/ogpu-provider"
    data.mkdir(parents=True)
    for name in ("keystore.json", "provider.db"):
        (data / name).write_text("precious")
    (root / "etc/ogpu-provider/keystore-password").write_text("secret")
    before = {p for p in root.rglob("*") if p.is_file()}
    report = await installation.uninstall(root)
    after = {p for p in root.rglob("*") if p.is_file()}
    assert {p.name for p in before - after} == {
        "ogpu-provider.service",
        "ogpu-provider.socket",
        "ogpu-provider.conf",
    }
    assert sorted(report.kept) == [str(root / "etc/ogpu-provider"), str(data)]
    assert (await installation.uninstall(root)).files == [], "a second time there is nothing to do"


async def test_a_file_of_somebody_else_is_neither_overwritten_nor_removed(root: Path) -> None:
    path = root / "etc/systemd/system/ogpu-provider.service"
    path.parent.mkdir(parents=True)
    path.write_text("[Unit]\nDescription=mine\n")
    for act in (installation.install(PLAN, root), installation.uninstall(root)):
        with pytest.raises(ConfigError) as refused:
            await act
        assert refused.value.code == "service.foreign_file"
    assert path.read_text() == "[Unit]\nDescription=mine\n"


@pytest.mark.parametrize("program", ["/home/me/.local/bin/ogpu-provider", "/root/.venv/bin/ogpu-provider"])
async def test_a_program_that_the_service_could_not_see_is_refused(program: str, root: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        await installation.install(unit.Plan(PurePosixPath(program), PLAN.callback), root)
    assert refused.value.code == "service.program"
    assert not (root / "etc/systemd").exists()


def test_without_docker_there_is_nothing_to_serve_with(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        installation.groups(tmp_path)
    assert refused.value.code == "service.no_docker_group"


def test_names_of_paths_cannot_add_to_the_unit() -> None:
    plan = unit.Plan(PurePosixPath('/opt/a b%i$HOME"'), ("172.17.0.1", 1))
    assert r'ExecStart="/opt/a b%%i$$HOME\"" run' in unit.service(plan)


def test_a_rehearsal_shows_every_text_and_writes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["service", "install", "--root", str(root), "--program", "/opt/x/ogpu-provider", "--dry-run", "--json"]
    assert invoke([*words, "--callback", "172.17.0.1:20755"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["dry_run"] is True
    assert "ListenStream=172.17.0.1:20755" in "".join(shown["texts"].values())
    assert not (root / "etc/systemd").exists()


@pytest.mark.parametrize(
    "option",
    [["--callback", "0.0.0.0:20755"], ["--callback", "bridge:1"], ["--callback", "10.0.0.1:0"], ["--user", "a b"]],
)
def test_wrong_words_are_wrong_usage(option: list[str], root: Path) -> None:
    assert invoke(["service", "install", "--root", str(root), "--program", "/opt/x", *option]) == 2
    assert not (root / "etc/systemd").exists()
