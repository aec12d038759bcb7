"""The doctor on this very machine and a local network: everything real, GPUs excepted."""

import asyncio
import json
import os
import resource
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ogpu_provider.devnet import accounts, tools
from ogpu_provider.devnet.deployment import pair_and_fund
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.devnet.network import LocalNetwork
from ogpu_provider.devnet.node import Node
from ogpu_provider.devnet.sdk import SdkClient
from ogpu_provider.devnet.transactions import transact
from ogpu_provider.domain.units import COIN
from ogpu_provider.keys import keystore
from tests.integration.doctor import faulty

pytestmark = [pytest.mark.docker, pytest.mark.devnet, pytest.mark.timeout(300)]
NOTHING_THERE = "http://127.0.0.1:9"


@dataclass
class Site:
    """A local network, and a folder for each doctor that looks at it."""

    network: LocalNetwork
    folder: Path

    async def settings(self, name: str, role: str = "provider", **changes: dict[str, Any]) -> Path:
        """A configuration file with a keystore beside it; `changes` by section."""
        folder = self.folder / name
        (folder / "data").mkdir(parents=True, mode=0o700)
        key, password = folder / "data" / "keystore.json", folder / "password"
        password.touch(mode=0o600)
        password.write_text("devnet")
        await keystore.import_key(key, accounts.role(role).private_key, "devnet", rounds=4096)
        made = self.network.describe()
        sections: dict[str, dict[str, Any]] = {
            "network": {
                "name": "devnet",
                "rpc_url": made["rpc_url"],
                "ws_url": made["ws_url"],
                "publish_url": made["pin_url"] + "/file/create",
                "gateway_url": made["gateway_url"],
            },
            "wallet": {"password_file": str(password)},
            "sources": {"serve": "all"},
            "runtime": {"compose": await tools.ensure_compose(), "instance": f"doctor-{os.getpid()}"},
        }
        lines = [f'data_dir = "{folder / "data"}"']
        for section in sections | changes:
            values = sections.get(section, {}) | changes.get(section, {})
            lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
        file = folder / "config.toml"
        file.write_text("\n".join(lines) + "\n")
        return file

    async def publish(self, *, min_lockup: int = 0) -> str:
        """A source; nothing is behind its documents."""
        made, key = self.network.describe(), accounts.role("client").private_key
        async with SdkClient(made["rpc_url"], made["pin_url"] + "/file/create", key) as client:
            return str(
                await client.call(
                    "publish_source",
                    name="a",
                    description="",
                    compose={"cpu": made["pin_url"]},
                    min_payment=1,
                    min_lockup=min_lockup,
                    max_expiry=60,
                    delivery=1,
                )
            )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp("doctor")
    async with LocalNetwork(folder, block_time=0.5, registry=False) as network:
        await pair_and_fund(network.node.rpc_url, network.deployment)
        yield Site(network, folder)


async def doctor(
    config: Path, *words: str, limits: bool = False, environ: dict[str, str] | None = None
) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit code and checks by id of `doctor --json`. `limits`: with few files and processes."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ogpu_provider.cli.main", "doctor", "--json", "--config", str(config), *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(environ or {})},
        preexec_fn=_limited if limits else None,
    )
    out, err = await process.communicate()
    assert b"Traceback" not in err, err
    checks = {check["id"]: check for check in json.loads(out)["checks"]}
    assert not [check for check in checks.values() if "bug" in check["found"]]
    return process.returncode or 0, checks


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
    resource.setrlimit(resource.RLIMIT_NPROC, (400, 400))


def states(checks: dict[str, dict[str, Any]], *ids: str) -> dict[str, str]:
    return {name: checks[name]["status"] for name in ids}


@pytest.mark.asyncio(loop_scope="module")
async def test_a_paired_provider_on_this_host(site: Site) -> None:
    _code, checks = await doctor(await site.settings("paired"))
    assert len(checks) >= 40
    good = (
        *("engine_reachable", "engine_bridge", "engine_limits", "compose_version"),
        *("rpc_reachable", "rpc_chain_id", "rpc_contracts", "rpc_head_moves", "rpc_websocket", "rpc_encrypted"),
        *("clock_chain", "ipfs_publish", "ipfs_gateway", "callback_host", "callback_port", "callback_from_container"),
        *("data_dir_private", "data_dir_writable", "journal_sound", "key_present", "key_private", "key_password"),
        *("gas_balance", "paired", "master_apart", "sanction", "eligible", "sources_chosen"),
    )
    wrong = {name: checks[name] for name in good if checks[name]["status"] != "ok"}
    assert not wrong
    engine = checks["engine_version"]
    assert engine["status"] in ("ok", "failed")
    assert engine["severity"] == "warning"  # whatever is installed runs sources, so it is never an error here


@pytest.mark.asyncio(loop_scope="module")
async def test_more_than_forty_planted_faults_are_found(site: Site, tmp_path: Path) -> None:
    """Nothing of the doctor is a fake here: the faults are in files, limits, an engine, nodes and the chain itself."""
    found: set[str] = set()
    dear, retired = await site.publish(min_lockup=500 * COIN), await site.publish()
    async with JsonRpc(site.network.node.rpc_url) as rpc:
        nexus = site.network.deployment.nexus
        await transact(rpc, accounts.role("client"), nexus, "Nexus", "inactivateSource", retired)
        await rpc.call("anvil_setBalance", accounts.role("provider3").address, "0x1")
        await rpc.call("anvil_setBalance", accounts.role("master").address, hex(10_000 * COIN))
    async with faulty.engine(tmp_path / "engine.sock") as engine, faulty.node(site.network.node.rpc_url) as node:
        config = await site.settings(
            *("faulty", "provider3"),
            network={
                "rpc_url": node,
                "ws_url": "ws://127.0.0.1:9",
                "rpc_urls": ["http://0.0.0.0:9"],
                "publish_url": NOTHING_THERE,
                "gateway_url": NOTHING_THERE,
            },
            runtime={"docker_host": engine, "compose": [str(faulty.compose(tmp_path))]},
            sources={"serve": [dear, retired]},
            admission={"cpu_slots": 64},
            callback={"host": "0.0.0.0"},
        )
        data = config.parent / "data"
        spoil(config)
        with closing(socket.socket()) as taken:
            taken.bind(("0.0.0.0", 0))
            taken.listen()
            (data / "callback.port").write_text(str(taken.getsockname()[1]))
            code, checks = await doctor(config, limits=True, environ={"PROVIDER_PRIVATE_KEY": "0x" + "5e" * 32})
        assert code == 1
        found |= all_failed(checks, *BROKEN)
        _code, mended = await doctor(config, "--fix", "--only", "files", "key_private", "key_password")
        fixed = ("data_dir_private", "journal_private", "callback_secret_private", "key_private", "key_password")
        assert set(states(mended, *fixed).values()) == {"ok"}, states(mended, *fixed)
        assert (data / "keystore.json").stat().st_mode & 0o777 == 0o600
        assert mended["journal_sound"]["status"] == "failed"  # a fix never touches what is in a file
        _code, checks = await doctor(config, "--only", "account")
        found |= all_failed(checks, "paired", "eligible", "gas_balance", "lockup_sources", "sources_servable")

    config = await site.settings("rich", "master", sources={"serve": []})
    _code, checks = await doctor(config, "--only", "account")
    found |= all_failed(checks, "hot_balance", "sources_chosen")

    config = await site.settings(
        "nothing", network={"rpc_url": NOTHING_THERE}, runtime={"docker_host": "unix:///nonexistent.sock"}
    )
    (config.parent / "data" / "keystore.json").unlink()
    code, checks = await doctor(config, "--only", "engine", "chain", "account", "callback_from_container")
    assert code == 1
    found |= all_failed(checks, "rpc_reachable", "engine_reachable", "key_present")
    behind = ("rpc_head_moves", "runc_version", "callback_from_container", "paired")
    assert set(states(checks, *behind).values()) == {"skipped"}
    assert len(found) > 40, sorted(found)


BROKEN = (
    *("engine_version", "runc_version", "engine_storage", "engine_userns", "engine_swarm", "engine_limits"),
    *("engine_forwarding", "engine_seccomp", "engine_confinement", "engine_live_restore", "engine_bridge"),
    *("engine_socket", "nvidia_default_runtime", "compose_version"),
    *("limit_open_files", "limit_processes", "processors"),
    *("rpc_websocket", "rpc_encrypted", "rpc_endpoints", "rpc_latency", "rpc_head_moves", "clock_chain"),
    *("ipfs_publish", "ipfs_gateway", "callback_port", "callback_exposed"),
    *("data_dir_private", "journal_private", "journal_sound", "callback_secret_private", "key_private"),
    *("key_password", "key_environment"),
)


def spoil(config: Path) -> None:
    """Everybody may read and write, and the journal is none."""
    data = config.parent / "data"
    data.chmod(0o755)
    (data / "keystore.json").chmod(0o644)
    (config.parent / "password").chmod(0o640)
    (data / "provider.db").write_bytes(b"this is no journal, but a text that somebody put there\n" * 100)
    (data / "provider.db").chmod(0o644)
    (data / "callback.secret").write_bytes(b"x" * 32)
    (data / "callback.secret").chmod(0o644)


def all_failed(checks: dict[str, dict[str, Any]], *ids: str) -> set[str]:
    others = {name: checks[name]["found"] for name in ids if checks[name]["status"] != "failed"}
    assert not others
    return set(ids)


@pytest.mark.asyncio(loop_scope="module")
async def test_nodes_of_other_chains_and_no_node(site: Site, tmp_path: Path) -> None:
    async with Node(tmp_path / "node.log", block_time=0.5, cache=site.network.cache / "tools") as empty:
        bare = await site.settings("bare", network={"rpc_url": empty.rpc_url, "ws_url": empty.ws_url})
        code, checks = await doctor(bare, "--only", "chain", "paired")
    assert code == 1
    assert states(checks, "rpc_chain_id", "rpc_contracts", "paired") == {
        "rpc_chain_id": "ok",
        "rpc_contracts": "failed",
        "paired": "skipped",
    }
    code, checks = await doctor(await site.settings("down", network={"rpc_url": NOTHING_THERE}), "--only", "chain")
    assert code == 1
    assert states(checks, "rpc_reachable", "rpc_head_moves") == {"rpc_reachable": "failed", "rpc_head_moves": "skipped"}
