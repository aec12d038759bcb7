"""`ogpu-provider alerts`: what the operator was told, and whether the receiver is there."""

import time
from typing import TYPE_CHECKING, Any

import cyclopts

from ogpu_provider.cli import journal
from ogpu_provider.cli.live import daemon_of
from ogpu_provider.cli.options import AsJson, ConfigFile
from ogpu_provider.cli.screen import at, document, facts, printable
from ogpu_provider.domain.errors import ConfigError, FetchError

if TYPE_CHECKING:
    from ogpu_provider.settings import Settings

app = cyclopts.App(name="alerts", help="Who is told when something is wrong, and of what.")


@app.command(name="list")
@app.default
async def list_alerts(*, json: AsJson = False, config: ConfigFile = None) -> int:
    """List what the running daemon has told and is not over. Exit code 1 if the receiver does not take it."""
    found = (await daemon_of(config).ask("status"))["alerts"]
    if found is None:
        raise _nobody()
    if json:
        document(found)
    else:
        _show(found)
    return 1 if found["problem"] else 0


@app.command(name="test")
async def try_receiver(*, json: AsJson = False, config: ConfigFile = None) -> int:
    """Send a test alert and say what came back. Needs no daemon. Exit code 1 if it was not taken."""
    settings = journal.read_settings(config)
    answer = await _tried(settings)
    if json:
        document(answer)
    elif answer["taken"]:
        print(printable(f"{answer['to']} took it: HTTP {answer['status']} after {answer['seconds']:.1f} s"))
    else:
        print(printable(f"{answer['to']} did not take it: {answer['problem']}"))
    return 0 if answer["taken"] else 1


async def _tried(settings: "Settings") -> dict[str, Any]:
    from ogpu_provider.alerting import receiver_of
    from ogpu_provider.assembly import network_of
    from ogpu_provider.control.alarm import Sender, trial
    from ogpu_provider.ipfs.webhook import Poster

    async with Poster(allow_private=True) as poster:
        receiver = receiver_of(settings, poster)
        if receiver is None:
            raise _nobody()
        sender = Sender(await _provider(settings), network_of(settings).name)
        started, status, problem = time.monotonic(), None, ""
        try:
            status = await receiver.tell(sender.message(trial(time.time()), time.time()))
        except FetchError as error:
            problem = str(error)
    return {
        "to": receiver.to,
        "taken": not problem,
        "status": status,
        "problem": problem or None,
        "seconds": time.monotonic() - started,
    }


async def _provider(settings: "Settings") -> str:
    """Whose journal it is; empty where no daemon ever ran."""
    async with journal.if_any(settings) as reader:
        return "" if reader is None else (await reader.meta()).get("provider", "")


def _nobody() -> ConfigError:
    return ConfigError(
        "nobody is told: the settings name no receiver",
        code="config.alerts",
        remedy="set alerts.url or alerts.url_file (docs/operations.md, Being told)",
    )


def _show(found: dict[str, Any]) -> None:
    standing, waiting = found["standing"], found["waiting"]
    state = f"does not take them: {found['problem']}" if found["problem"] else "takes them"
    facts(
        (
            ("receiver", f"{found['to']} {state}"),
            ("waiting", f"{waiting} to be told" if waiting else None),
            ("left out", f"{found['left_out']}, because so much is wrong" if found["left_out"] else None),
        )
    )
    if not standing:
        print("nothing is wrong that anybody was told of")
    for one in standing:
        print()
        print(printable(f"{one['severity']}: {one['code']}: {one['text']}"))
        if one["remedy"]:
            print(printable(f"  remedy: {one['remedy']}"))
        times = f"told {one['told']} times, last" if one["told"] > 1 else "told"
        print(f"  since {at(one['since'])}, {times} {at(one['told_at'])}")
