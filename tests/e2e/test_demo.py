"""The demo as people and scripts run it: from the wheel alone, without an engine, and held open for the SDK."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ogpu_provider.devnet.sdk import SdkClient
from ogpu_provider.domain.units import COIN

ROOT = Path(__file__).parents[2]
KEYS = {
    "task", "source", "function", "delivery", "state", "reason", "attempt_tx", "response_tx", "cid", "seconds",
    "payment_wei",
}  # fmt: skip


def well_ended(document: dict[str, Any]) -> None:
    """Both delivery methods paid, one refusal and one failure with their reasons."""
    tasks = document["tasks"]
    assert all(set(task) == KEYS for task in tasks)
    paid = [task for task in tasks if task["state"] == "SETTLED"]
    assert {task["delivery"] for task in paid} == {"FIRST_RESPONSE", "MANUAL_CONFIRMATION"}
    assert {task["function"] for task in paid} == {"multiply", "ocr"}
    for task in paid:
        assert task["payment_wei"] == COIN // 100
        assert task["cid"].startswith("Qm")
        assert task["seconds"] >= 0
        assert task["attempt_tx"] != task["response_tx"]
    assert {(task["state"], task["reason"].split(":")[0]) for task in tasks if task not in paid} == {
        ("DECLINED", "payment.below_floor"),
        ("FAILED", "execute.no_result"),
    }
    network = document["network"]
    assert network["chain_id"] == 200820172034
    assert len(network["sources"]) == 3


@pytest.mark.devnet
@pytest.mark.docker
@pytest.mark.timeout(900)
def test_the_wheel_alone_runs_the_demo(tmp_path: Path) -> None:
    """Built from the checkout, installed in an empty environment, run from elsewhere."""
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    for name in filter(None, tracked.decode().split("\0")):
        if (ROOT / name).is_file():
            target = tmp_path / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path / "dist"), str(tmp_path / "source")]
    subprocess.run(build, check=True, capture_output=True)
    [wheel] = (tmp_path / "dist").glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    pip = [str(tmp_path / "venv/bin/python"), "-m", "pip", "install", "--quiet", str(wheel)]
    subprocess.run([*pip, "-c", str(_versions(tmp_path))], check=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    demo = subprocess.run(
        [str(tmp_path / "venv/bin/ogpu-provider"), "demo", "--json"], cwd=elsewhere, capture_output=True, text=True
    )
    assert demo.returncode == 0, demo.stderr[-3000:]
    well_ended(json.loads(demo.stdout))
    assert "NO CONTAINER ENGINE" not in demo.stderr


def _versions(folder: Path) -> Path:
    """The locked versions, so that the newest of everything is not this test's business."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    # with their markers: a package may be locked twice, for older and newer Pythons
    pins = [line.removesuffix("\\").strip() for line in lines if "==" in line and not line.startswith(" ")]
    file = folder / "versions.txt"
    file.write_text("\n".join(pins))
    return file


@pytest.mark.devnet
@pytest.mark.timeout(600)
async def test_without_an_engine_and_held_open_for_more_tasks() -> None:
    demo = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ogpu_provider.cli.main", "demo", "--no-engine", "--json", "--hold"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        limit=1 << 20,
    )
    assert demo.stdout is not None
    assert demo.stderr is not None
    said = asyncio.ensure_future(demo.stderr.read())
    document = json.loads(await demo.stdout.readline() or b"{}")
    assert document, (await said).decode()[-3000:]
    well_ended(document)
    network = document["network"]
    key = network["accounts"]["client"]["private_key"]
    async with SdkClient(network["rpc_url"], network["pin_url"] + "/file/create", key) as client:
        task = await client.call(
            "publish_task",
            source=document["tasks"][0]["source"],
            function="multiply",
            data={"a": 20, "b": 5},
            expiry=int(time.time() + 120),
            payment=COIN // 100,
        )
        for _ in range(100):
            view = await client.call("task", address=task)
            if view["status"] == "FINALIZED":
                break
            await asyncio.sleep(0.2)
        assert view["payload"] == {"result": 100}
    demo.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(demo.wait(), 60) == 0
    assert "NO CONTAINER ENGINE" in (await said).decode()
    with pytest.raises(ConnectionError):
        await asyncio.open_connection(*network["rpc_url"].removeprefix("http://").split(":"))


def test_help_is_quick() -> None:
    """Heavy libraries stay inside commands: what `--help` imports is counted, not timed."""
    code = "import sys; import ogpu_provider.cli.main; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ), check=True
    )
    heavy = {"web3", "docker", "eth_account", "httpx", "fastapi", "uvicorn", "starlette", "pydantic", "ogpu"}
    assert not heavy & set(done.stdout.split())
