"""`python -m tests.auditor`: a bystander in a process of its own, who never opens the daemon's journal.

A line of JSON on stdin begins the watch (the fields of `Watch`); the answer is `{"watching": true}`. Every further
line, `{"expected": {task: payload}, "unanswered": [task]}`, is answered with a verdict: what was seen, and what breaks
the invariants of `findings`. Imports nothing of the daemon, and says so in `knows`.
"""

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import Any

from tests.auditor import findings, witnesses
from tests.auditor.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Watch:
    """`max_fee` in wei per gas, `budget` in wei. Without an `instance` no containers are looked at, without a
    `gateway` no content. `outputs` are files in which no secret may stand; `decoys` containers that nobody may touch.
    """

    rpc_url: str
    ws_url: str
    nexus: str
    provider: str
    max_fee: int
    budget: int
    instance: str = ""
    gateway: str = ""
    secrets: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    decoys: tuple[str, ...] = ()


class Auditor:
    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._provider = watch.provider.lower()
        self.pool = witnesses.Pool(watch.ws_url, self._provider)
        self._chain = witnesses.Chain(watch.rpc_url, watch.nexus, self._provider)
        self._engine = witnesses.Engine(watch.instance, watch.decoys) if watch.instance else None

    async def verdict(self, expected: dict[str, Any], unanswered: list[str]) -> dict[str, Any]:
        found = await self._evidence()
        found.expected = {task.lower(): payload for task, payload in expected.items()}
        found.unanswered = frozenset(task.lower() for task in unanswered)
        return {
            "findings": findings.judge(found),
            "attempts": [log.address(0) for log in findings.attempts(found)],
            "responses": [log.address(1) for log in findings.responses(found)],
            "transactions": len(found.mined),
            "seen": len(found.seen),
            "containers": len(found.containers),
            "knows": sorted(name for name in sys.modules if name.partition(".")[0] == "ogpu_provider"),
        }

    async def _evidence(self) -> Evidence:
        watch, chain = self._watch, self._chain
        mined = await chain.mined()
        logs = await chain.logs()
        tasks = await chain.tasks([log.address(0) for log in logs if log.event == "TaskPublished"])
        found = Evidence(self._provider, mined=mined, seen=list(self.pool.seen.values()), logs=logs, tasks=tasks)
        found.max_fee, found.budget = watch.max_fee, watch.budget
        if watch.gateway:
            answers = [tx for tx in mined if tx.does(self._provider) == "submitResponse"]
            found.pinned = await witnesses.pinned(watch.gateway, [(tx.subject(self._provider), tx) for tx in answers])
        said = witnesses.text_of(watch.outputs)
        said |= {one.link: (one.body or b"").decode(errors="replace") for one in found.pinned.values()}
        if self._engine is not None:
            found.containers = await asyncio.to_thread(self._engine.containers)
            found.decoys = await asyncio.to_thread(self._engine.changed)
            said |= await asyncio.to_thread(self._engine.spoken)
        found.leaks = witnesses.leaks(watch.secrets, said)
        return found

    async def aclose(self) -> None:
        await self._chain.aclose()


async def main() -> None:
    auditor = Auditor(Watch(**json.loads(await asyncio.to_thread(sys.stdin.readline))))
    watching = asyncio.create_task(auditor.pool.watch())
    await asyncio.wait_for(auditor.pool.watching.wait(), 60)
    print(json.dumps({"watching": True}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        if watching.done():
            watching.result()
        print(json.dumps(await auditor.verdict(**json.loads(line))), flush=True)
    watching.cancel()
    await auditor.aclose()


if __name__ == "__main__":
    asyncio.run(main())
