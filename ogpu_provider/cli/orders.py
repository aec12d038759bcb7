"""`ogpu-provider pause`, `resume`, `drain`: what the operator tells a running daemon."""

import asyncio
from typing import Annotated, Any

from cyclopts import Parameter

from ogpu_provider.cli import journal
from ogpu_provider.cli.live import daemon_of
from ogpu_provider.cli.options import AsJson, ConfigFile
from ogpu_provider.cli.screen import document
from ogpu_provider.domain.errors import ControlError

LOOK_S = 0.5


async def pause(*, json: AsJson = False, config: ConfigFile = None) -> None:
    """Take no new task until `resume`, also after a restart. What is owed goes on; containers stay warm."""
    answer = await daemon_of(config).ask("pause")
    if json:
        document(answer)
        return
    print("paused: new tasks are declined (provider.paused), what was accepted goes on")


async def resume(*, json: AsJson = False, config: ConfigFile = None) -> None:
    """Take tasks again, after `pause`; call a drain off that is not over yet."""
    answer = await daemon_of(config).ask("resume")
    if json:
        document(answer)
        return
    print("tasks are taken again")


async def drain(
    *,
    wait: Annotated[bool, Parameter(help="Stay until the daemon has ended, and say what it waits for.")] = True,
    json: AsJson = False,
    config: ConfigFile = None,
) -> int:
    """Take no new task, and end the daemon when nothing is owed any more. The next start takes tasks again.

    Exit code 1 if the daemon ended, or was told to resume, before it was drained.
    """
    client = daemon_of(config)
    answer = await client.ask("drain")
    last = ""
    while wait and answer["draining"]:
        if not json and (text := _left(answer)) != last:
            print(text, flush=True)
            last = text
        await asyncio.sleep(LOOK_S)
        try:
            answer = await client.ask("status")
        except ControlError as error:
            if error.code == "control.forbidden":
                raise
            return await _ended(json, config)
    orders = {name: answer[name] for name in ("paused_since", "draining")}
    if json:
        document({"drained": False, **orders})
    else:
        print("called off" if not answer["draining"] else _left(answer))
    return 1 if wait else 0


def _left(answer: dict[str, Any]) -> str:
    draining = answer["draining"]
    text = f"draining: {draining['tasks']} tasks to finish, {draining['transactions']} transactions not in a block yet"
    return text + (f", {sources} sources to leave" if (sources := draining["sources"]) else "")


async def _ended(json: bool, config: ConfigFile) -> int:
    """The daemon takes the order out of its journal when it is fulfilled, and at no other end."""
    async with journal.opened(config) as reader:
        drained = not any(wish.subject == "drain" for wish in await reader.wishes())
    if json:
        document({"drained": drained})
    else:
        print("drained: the daemon has ended" if drained else "the daemon ended before it was drained; see its log")
    return 0 if drained else 1
