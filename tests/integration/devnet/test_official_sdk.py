"""The public SDK works on the local network with nothing changed but its RPC URL."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from ogpu_provider.devnet.accounts import role
from ogpu_provider.devnet.deployment import deploy
from ogpu_provider.devnet.node import Node

pytestmark = pytest.mark.devnet


async def test_the_public_sdk_is_at_home(anvil: Path, tmp_path: Path) -> None:
    async with Node(tmp_path / "node.log", block_time=0.1, binary=anvil) as node:
        await deploy(node.rpc_url)
        environment = {"RPC_URL": node.rpc_url, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        for name in ("client", "master", "provider", "agent"):
            environment[f"{name.upper()}_PRIVATE_KEY"] = role(name).private_key
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("sdk_client.py")),
            env=environment,
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, problems = await process.communicate()
    assert process.returncode == 0, problems.decode()[-3000:]
    assert json.loads(output) == {
        "pairing": {"master_of": True, "agent": True, "eligible": True},
        "money": {
            "too_much": "InsufficientBalanceError",
            "early": "UnbondingPeriodNotElapsedError",
            "balance": 19,
        },
        "manual": {
            "canceled": "CANCELED",
            "cancel_again": "TaskAlreadyFinalizedError",
            "before": "RESPONDED",
            "after": "FINALIZED",
            "confirmed": True,
            "confirm_again": "ResponseAlreadyConfirmedError",
            "winner": True,
            "registrants": True,
            "tasks": True,
            "last_task": True,
        },
        "first": {
            "new": "NEW",
            "status": "FINALIZED",
            "attempters": True,
            "data": "http://results.example/2.json",
            "inactive": "SourceInactiveError",
            "source_status": "INACTIVE",
        },
        "earnings": 3,
        "frozen": 0,
    }
