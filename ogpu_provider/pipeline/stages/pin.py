"""PRODUCED -> PINNED: publish the stored bytes; the same bytes have the same CID however often we try."""

from ogpu_provider.domain.killpoints import reach
from ogpu_provider.domain.task import Step, Task, TaskState, Transition
from ogpu_provider.pipeline.ports import Ports


async def pin(task: Task, ports: Ports) -> Step:
    body = await ports.journal.result(task.address)
    assert body is not None, "PRODUCED is only reached with a stored result"
    reach("pin.started")
    pinned = await ports.content.pin("response.json", body)
    reach("pin.done")
    return Transition(TaskState.PINNED, {"cid": pinned.cid, "link": pinned.link})
