"""`ogpu-provider register`: from a bare host to a registered provider, in one sitting or several."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from ogpu_provider.cli.options import AsJson, ConfigFile
from ogpu_provider.cli.registration import HostFlags, KeyFlags, MasterFlags, NetworkFlags, SourceFlags, answers_of
from ogpu_provider.cli.screen import document
from ogpu_provider.domain.errors import ProviderError

if TYPE_CHECKING:
    from ogpu_provider.doctor.finding import Finding
    from ogpu_provider.onboarding.sitting import Answers, HostFinding, StepResult
    from ogpu_provider.settings import Settings

Yes = Annotated[
    bool,
    Parameter(name="--yes", negative="", show_default=False, help="Ask nothing: take defaults, confirm what is shown."),
]
_NETWORK, _KEY, _HOST, _MASTER, _SOURCES = NetworkFlags(), KeyFlags(), HostFlags(), MasterFlags(), SourceFlags()


async def register(
    *,
    network: Annotated[NetworkFlags, Parameter(name="*", group=Group.create_ordered("Network"))] = _NETWORK,
    key: Annotated[KeyFlags, Parameter(name="*", group=Group.create_ordered("Key"))] = _KEY,
    host: Annotated[HostFlags, Parameter(name="*", group=Group.create_ordered("Host check"))] = _HOST,
    master: Annotated[MasterFlags, Parameter(name="*", group=Group.create_ordered("Pairing and stake"))] = _MASTER,
    sources: Annotated[SourceFlags, Parameter(name="*", group=Group.create_ordered("Sources"))] = _SOURCES,
    yes: Yes = False,
    json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Set this host up as a provider: network, key, host check, pairing, stake, sources.

    Every question has a flag. It can be stopped at any point and run again: it asks the chain what is done already.
    With --json standard output holds one document, {"done", "steps"} and, where it stopped, "error"; the talk goes to
    standard error.
    """
    await _sit(config, answers_of(network, key, host, master, sources, yes=yes), yes=yes, json=json)


async def _sit(config: Path | None, answers: "Answers", *, yes: bool, json: bool) -> None:
    from contextlib import AsyncExitStack

    from ogpu_provider import telemetry
    from ogpu_provider.cli.terminal import Terminal
    from ogpu_provider.config import chosen_file
    from ogpu_provider.domain.clock import SystemClock
    from ogpu_provider.onboarding.sitting import Sitting
    from ogpu_provider.onboarding.steps import register as sit

    telemetry.configure(level="error", format="text")
    talk = Terminal(yes=yes, out=sys.stderr if json else sys.stdout)
    async with AsyncExitStack() as stack:
        sitting = Sitting(
            file=chosen_file(config),
            answers=answers,
            talk=talk,
            clock=SystemClock(),
            stack=stack,
            examine=_examine,
        )
        try:
            results = await sit(sitting)
        except (KeyboardInterrupt, asyncio.CancelledError):
            print("\nStopped. What was sent stays sent; `ogpu-provider register` goes on from here.", file=sys.stderr)
            raise
        except ProviderError as error:
            if json:
                why = {"code": error.code, "text": str(error), "remedy": error.remedy}
                document({"done": False, "error": why, "steps": _steps(sitting.results)})
            raise
    if json:
        document({"done": True, "steps": _steps(results)})


def _steps(results: "Sequence[StepResult]") -> list[dict[str, Any]]:
    return [{"step": one.step, "state": one.state, **one.facts} for one in results]


async def _examine(settings: "Settings") -> "list[HostFinding]":
    """What the doctor finds of the host itself; the account is this command's own business."""
    from ogpu_provider.doctor.examination import examine
    from ogpu_provider.doctor.finding import HOST, Status
    from ogpu_provider.onboarding.sitting import HostFinding

    found = await examine(settings, only=HOST)
    wrong = (one for one in found if one.status in (Status.FAILED, Status.UNKNOWN))
    return [HostFinding(one.id, _weight(one), one.found, one.remedy) for one in wrong]


def _weight(one: "Finding") -> str:
    """What could not be found out is no error of the host."""
    return "warning" if one.status == "unknown" else str(one.severity)
