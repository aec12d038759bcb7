"""Each check is silent on a host in order, and finds each fault planted in it."""

import asyncio
import json
from pathlib import Path

import pytest

from ogpu_provider.doctor import checks, registry
from ogpu_provider.doctor.check import Check, Seen, ok
from ogpu_provider.doctor.examination import look, run
from ogpu_provider.doctor.finding import HOST, Severity, Status, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.domain.errors import ConfigError, RpcUnavailable
from tests.fakes.host import DATA, FakeHost, file
from tests.unit.doctor.faults import FAULTS, SECRET, Fault

CHECKS = registry.every()
BY_ID = {check.id: check for check in CHECKS}


async def test_a_host_in_order_passes_every_check() -> None:
    findings = await run(FakeHost().context, CHECKS)
    assert [f"{f.id}: {f.status} {f.found}" for f in findings if f.status is not Status.OK] == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.check}-{fault.name}")
async def test_a_planted_fault_is_found(fault: Fault) -> None:
    host = FakeHost()
    fault.plant(host)
    [finding] = await run(host.context, [BY_ID[fault.check]])
    assert (finding.status, finding.severity) == (Status.FAILED, fault.severity), finding.found
    assert fault.says in finding.found
    assert finding.fixable == fault.mendable


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.mendable], ids=lambda fault: fault.name)
async def test_what_is_fixable_is_mended(fault: Fault) -> None:
    host = FakeHost()
    fault.plant(host)
    [finding] = await run(host.context, [BY_ID[fault.check]], fix=True)
    assert finding.status is Status.OK, finding.found
    assert "mended" in finding.found
    [again] = await run(host.context, [BY_ID[fault.check]])
    assert again.status is Status.OK


def test_every_check_has_a_planted_fault() -> None:
    assert {check.id for check in CHECKS} == {fault.check for fault in FAULTS}
    assert len(CHECKS) >= 40


def test_every_check_with_a_fix_has_a_fault_that_it_mends() -> None:
    assert {c.id for c in CHECKS if c.fix is not None} == {f.check for f in FAULTS if f.mendable}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_a_check_says_what_it_means_and_what_to_do(check: Check) -> None:
    assert len(check.meaning) > 30
    assert len(check.remedy) > 15
    assert check.title
    assert all(need in BY_ID for need in check.needs)
    assert (Path(checks.__path__[0]) / f"{check.id}.py").is_file()


def test_what_can_be_asked_before_there_is_a_key_needs_none() -> None:
    for check in CHECKS:
        if check.topic in HOST:
            assert all(BY_ID[need].topic in HOST for need in check.needs), check.id


async def test_a_host_without_gpus_and_engine_is_described_without_noise() -> None:
    host = FakeHost()
    for fault in FAULTS:
        if fault.name in ("engine_down", "no_gpu", "node_down", "no_key"):
            fault.plant(host)
    host.files.folders["/sys/bus/pci/devices"] = ()
    findings = await run(host.context, CHECKS)
    failed = {f.id for f in findings if f.status is Status.FAILED}
    assert failed == {"engine_reachable", "rpc_reachable", "key_present", "gpu_present"}
    assert not [f for f in findings if f.status is Status.UNKNOWN and f.topic is not Topic.ACCOUNT]
    skipped = {f.id: f.found for f in findings if f.status is Status.SKIPPED}
    assert skipped["runc_version"] == "not looked at: engine_reachable comes first"
    assert skipped["nvidia_in_container"] == "no NVIDIA GPU in this host"


async def test_a_warning_does_not_keep_others_from_being_looked_at() -> None:
    host = FakeHost()
    host.machine.programs["nvidia-ctk"] = (0, "1.16.0")
    host.engine_has(version="20.10.24+dfsg1")
    findings = await run(host.context, CHECKS)
    assert [f.id for f in findings if f.status is not Status.OK] == ["engine_version", "nvidia_toolkit"]
    assert not any(f.failed_hard for f in findings)


async def test_a_check_that_breaks_or_hangs_is_unknown() -> None:
    async def breaks(_context: Context) -> Seen:
        raise TypeError("no such thing")

    async def hangs(_context: Context) -> Seen:
        await asyncio.Event().wait()
        return ok("never")

    async def unreachable(_context: Context) -> Seen:
        raise RpcUnavailable("no answer")

    async def unreadable(_context: Context) -> Seen:
        raise PermissionError(13, "Permission denied", "/proc/1/environ")

    def check(function: object) -> Check:
        return Check("x", Topic.MACHINE, Severity.ERROR, "x", "x", "x", function, seconds=0.01)  # type: ignore[arg-type]

    context = FakeHost().context
    found = [await look(check(function), context) for function in (breaks, hangs, unreachable, unreadable)]
    assert {seen.status for seen in found} == {Status.UNKNOWN}
    texts = [seen.found for seen in found]
    assert "TypeError" in texts[0]
    assert texts[1:] == [
        "no answer in 0.01 s",
        "no answer [chain.unavailable]",
        "/proc/1/environ: Permission denied",
    ]


async def test_only_what_was_asked_for_is_reported_and_mended() -> None:
    host = FakeHost()
    host.files.facts[f"{DATA}/keystore.json"] = file(0o644)
    host.files.facts[f"{DATA}/provider.db"] = file(0o644)
    heard: list[str] = []
    findings = await run(
        host.context,
        registry.selected(["journal_private"]),
        fix=True,
        progress=lambda finding: heard.append(finding.id),
    )
    assert [f.id for f in findings] == heard == ["journal_private"]
    assert host.files.facts[f"{DATA}/provider.db"].mode == 0o600
    assert host.files.facts[f"{DATA}/keystore.json"].mode == 0o644
    assert {c.topic for c in registry.selected(["engine", "paired"])} == {Topic.ENGINE, Topic.ACCOUNT}
    with pytest.raises(ConfigError) as refused:
        registry.selected(["engine_reachible"])
    assert refused.value.code == "usage.check"


async def test_nothing_secret_is_repeated() -> None:
    host = FakeHost()
    for fault in FAULTS:
        if fault.check == "key_environment":
            fault.plant(host)
    host.network = host.network.at(http_url="http://user:hunter2@rpc.example.org/?key=hunter2")
    text = repr(await run(host.context, CHECKS))
    assert SECRET not in text
    assert "hunter2" not in text


async def test_a_running_daemon_is_not_taken_for_a_stranger() -> None:
    host = FakeHost()
    host.files.texts["/proc/locks"] = "1: FLOCK  ADVISORY  WRITE 99 08:01:4711 0 EOF\n"
    host.files.folders["/proc"] = ("1", "99")
    host.files.texts["/proc/99/cmdline"] = "python3\0/usr/bin/ogpu-provider\0run\0"
    host.machine.taken["172.17.0.1", 40111] = "Address already in use"
    findings = {f.id: f for f in await run(host.context, CHECKS)}
    assert findings["other_daemon"].status is Status.OK
    assert findings["callback_port"].found == "port 40111, held by the daemon (process 99)"
    assert findings["callback_from_container"].found == "a container reaches 172.17.0.1:40111"
    assert findings["gpu_idle"].status is Status.SKIPPED


async def test_a_port_that_systemd_holds_for_us_is_ours() -> None:
    host = FakeHost()
    host.machine.taken["172.17.0.1", 40111] = "Address already in use"
    unit = "/etc/systemd/system/ogpu-provider.socket"
    host.files.texts[unit] = "[Socket]\nListenStream=172.17.0.1:40111\nBacklog=4096\n"
    findings = {f.id: f for f in await run(host.context, CHECKS)}
    assert findings["callback_port"].found == "port 40111, held by systemd (ogpu-provider.socket)"
    assert findings["callback_from_container"].status is Status.OK
    host.files.texts[unit] = "[Socket]\nListenStream=172.17.0.1:20755\n"
    findings = {f.id: f for f in await run(host.context, CHECKS)}
    assert findings["callback_port"].failed_hard


async def test_a_user_who_may_not_look_at_the_firewall_says_nothing_of_the_service() -> None:
    host = FakeHost()
    host.files.facts["/etc/systemd/system/ogpu-provider.service"] = file(0o644)
    host.files.texts["/proc/self/status"] = "CapEff:\t0000000000000000\n"
    host.engine.open = "the firewall cannot be read or changed: Permission denied"
    [finding] = await run(host.context, [BY_ID["egress_rules"]])
    assert finding.status is Status.UNKNOWN
    assert "Permission denied" in finding.found


async def test_the_document_names_more_than_forty_planted_faults() -> None:
    """What `doctor --json` prints, for every fault: that check failed, with the texts that a script needs."""
    named = set()
    for fault in FAULTS:
        host = FakeHost()
        fault.plant(host)
        row = json.loads(json.dumps((await run(host.context, [BY_ID[fault.check]]))[0].document()))
        assert set(row) == {"id", "status", "severity", "found", "meaning", "remedy", "fixable"}
        assert all((row["found"], row["meaning"], row["remedy"]))
        if row["status"] == "failed":
            named.add(row["id"])
    assert len(named) >= 40
    assert named == {check.id for check in CHECKS}


async def test_processes_need_no_engine() -> None:
    host = FakeHost()
    host.set(runtime={"engine": "processes"}, network={"name": "devnet", "rpc_url": "http://127.0.0.1:8545"})
    host.engine.bridge = None
    findings = {f.id: f for f in await run(host.context, CHECKS)}
    assert findings["engine_reachable"].status is Status.SKIPPED
    assert findings["engine_version"].status is Status.SKIPPED
    assert findings["callback_host"].found == "127.0.0.1"
