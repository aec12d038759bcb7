"""The doctor on this very machine and a local network: everything real, GPUs excepted."""

import asyncio
import json
import os
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
from ogpu_provider.devnet.network import LocalNetwork
from ogpu_provider.devnet.node import Node
from ogpu_provider.keys import keystore

pytestmark = [pytest.mark.docker, pytest.mark.devnet]
NOTHING_THERE = "http://127.0.0.1:9"


@dataclass
class Site:
    """A local network, and a folder for each doctor that looks at it."""

    network: LocalNetwork
    folder: Path

    async def settings(self, name: str, *, role: str = "provider", **network: object) -> Path:
        """A configuration file with a keystore beside it."""
        folder = self.folder / name
        (folder / "data").mkdir(parents=True, mode=0o700)
        key, password = folder / "data" / "keystore.json", folder / "password"
        password.touch(mode=0o600)
        password.write_text("devnet")
        await keystore.import_key(key, accounts.role(role).private_key, "devnet", rounds=4096)
        made = self.network.describe()
        ends: dict[str, object] = {
            "name": "devnet",
            "rpc_url": made["rpc_url"],
            "ws_url": made["ws_url"],
            "publish_url": made["pin_url"] + "/file/create",
            "gateway_url": made["gateway_url"],
            **network,
        }
        sections: dict[str, dict[str, object]] = {
            "network": ends,
            "wallet": {"password_file": str(password)},
            "sources": {"serve": "all"},
            "runtime": {"compose": await tools.ensure_compose(), "instance": f"doctor-{os.getpid()}"},
        }
        lines = [f'data_dir = "{folder / "data"}"']
        for section, values in sections.items():
            lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
        file = folder / "config.toml"
        file.write_text("\n".join(lines) + "\n")
        return file


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp("doctor")
    async with LocalNetwork(folder, block_time=0.5, registry=False) as network:
        await pair_and_fund(network.node.rpc_url, network.deployment)
        yield Site(network, folder)


async def doctor(config: Path, *words: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit code and checks by id of `doctor --json`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ogpu_provider.cli.main", "doctor", "--json", "--config", str(config), *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert b"Traceback" not in err, err
    checks = {check["id"]: check for check in json.loads(out)["checks"]}
    assert not [check for check in checks.values() if "bug" in check["found"]]
    return process.returncode or 0, checks


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
async def test_faults_that_are_really_there_are_found(site: Site, tmp_path: Path) -> None:
    config = await site.settings("faulty", role="provider3", publish_url=NOTHING_THERE, ws_url="ws://127.0.0.1:9")
    data = config.parent / "data"
    data.chmod(0o755)
    (data / "keystore.json").chmod(0o644)
    (config.parent / "password").chmod(0o640)
    (data / "provider.db").write_bytes(b"this is no journal, but a text that somebody put there\n" * 100)
    (data / "provider.db").chmod(0o644)
    (data / "callback.secret").write_bytes(b"x" * 32)
    (data / "callback.secret").chmod(0o644)
    with closing(socket.socket()) as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        (data / "callback.port").write_text(str(taken.getsockname()[1]))
        code, checks = await doctor(config)
    assert code == 1
    broken = (
        *("ipfs_publish", "rpc_websocket", "callback_port", "data_dir_private", "journal_private", "journal_sound"),
        *("callback_secret_private", "key_private", "key_password"),
    )
    assert set(states(checks, *broken).values()) == {"failed"}, states(checks, *broken)

    _code, mended = await doctor(config, "--fix")
    fixed = ("data_dir_private", "journal_private", "callback_secret_private", "key_private", "key_password")
    assert set(states(mended, *fixed).values()) == {"ok"}, states(mended, *fixed)
    assert (data / "keystore.json").stat().st_mode & 0o777 == 0o600
    assert mended["journal_sound"]["status"] == "failed"  # a fix never touches what is in a file

    _code, after = await doctor(config, "--only", "account")
    assert set(states(after, "paired", "eligible").values()) == {"failed"}


@pytest.mark.asyncio(loop_scope="module")
async def test_nodes_of_other_chains_and_no_node(site: Site, tmp_path: Path) -> None:
    async with Node(tmp_path / "node.log", block_time=0.5, cache=site.network.cache / "tools") as empty:
        bare = await site.settings("bare", rpc_url=empty.rpc_url, ws_url=empty.ws_url)
        code, checks = await doctor(bare, "--only", "chain", "paired")
    assert code == 1
    assert states(checks, "rpc_chain_id", "rpc_contracts", "paired") == {
        "rpc_chain_id": "ok",
        "rpc_contracts": "failed",
        "paired": "skipped",
    }
    code, checks = await doctor(await site.settings("down", rpc_url=NOTHING_THERE), "--only", "chain")
    assert code == 1
    assert states(checks, "rpc_reachable", "rpc_head_moves") == {"rpc_reachable": "failed", "rpc_head_moves": "skipped"}


@pytest.mark.asyncio(loop_scope="module")
async def test_an_engine_that_is_not_there(site: Site) -> None:
    config = await site.settings("no-engine")
    config.write_text(config.read_text().replace("[runtime]", '[runtime]\ndocker_host = "unix:///nonexistent.sock"'))
    code, checks = await doctor(config, "--only", "engine", "callback_from_container")
    assert code == 1
    assert states(checks, "engine_reachable", "runc_version", "callback_from_container") == {
        "engine_reachable": "failed",
        "runc_version": "skipped",
        "callback_from_container": "skipped",
    }
