"""Run the checks: at once, each in its own time, and whatever happens in one stays in it.

`examine(settings)` looks at this host. A check that raises or hangs is reported as unknown; so is what it was asked
about, and nothing else.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ogpu_provider.doctor import registry
from ogpu_provider.doctor.check import Check, Seen, skipped, unknown
from ogpu_provider.doctor.finding import Finding, Severity, Status
from ogpu_provider.doctor.ports import Context
from ogpu_provider.domain.errors import ProviderError

if TYPE_CHECKING:
    from ogpu_provider.settings import Settings

Progress = Callable[[Finding], None]


async def examine(
    settings: "Settings", *, only: Sequence[str] = (), fix: bool = False, progress: Progress | None = None
) -> list[Finding]:
    """Look at this host. `only`: ids or topics; what those need is looked at too, but not reported.

    `progress` hears each finding when it is there. With `fix`, what can be mended safely is, and looked at again.
    Raises ConfigError for a name in `only` that is none, and for settings that describe no network.
    """
    from ogpu_provider.doctor.probes import opened

    wanted = registry.selected(only)
    async with opened(settings) as context:
        return await run(context, wanted, fix=fix, progress=progress)


async def run(
    context: Context, wanted: Sequence[Check], *, fix: bool = False, progress: Progress | None = None
) -> list[Finding]:
    """Findings in the order of `wanted`."""
    round_ = _Round(context, fix, progress, frozenset(check.id for check in wanted))
    async with asyncio.TaskGroup() as group:
        round_.start(group, wanted)
    return [round_.tasks[check.id].result() for check in wanted]


class _Round:
    """One run: every check is a task, and waits for those that it needs."""

    def __init__(self, context: Context, fix: bool, progress: Progress | None, reported: frozenset[str]) -> None:
        self.tasks: dict[str, asyncio.Task[Finding]] = {}
        self._context = context
        self._fix = fix
        self._progress = progress
        self._reported = reported
        self._known = {check.id: check for check in registry.every()}

    def start(self, group: asyncio.TaskGroup, checks: Sequence[Check]) -> None:
        for check in checks:
            if check.id not in self.tasks:
                self.start(group, [self._known[need] for need in check.needs])
                self.tasks[check.id] = group.create_task(self._finding(check), name=f"check {check.id}")

    async def _finding(self, check: Check) -> Finding:
        finding = await self._after_needs(check)
        if self._progress is not None and check.id in self._reported:
            self._progress(finding)
        return finding

    async def _after_needs(self, check: Check) -> Finding:
        for need in check.needs:
            needed = await self.tasks[need]
            if not needed.usable:
                absent = needed.status is Status.SKIPPED
                return described(check, skipped(needed.found if absent else f"not looked at: {need} comes first"))
        finding = described(check, await look(check, self._context))
        if not (self._fix and finding.fixable and check.fix is not None and check.id in self._reported):
            return finding
        before = finding.found
        try:
            async with asyncio.timeout(check.seconds):
                await check.fix(self._context)
        except (OSError, TimeoutError, ProviderError) as error:
            return described(check, Seen(Status.FAILED, f"{before}; mending failed: {error}", finding.severity))
        again = await look(check, self._context)
        return described(check, Seen(again.status, f"mended: {again.found} (was: {before})", again.severity))


async def look(check: Check, context: Context) -> Seen:
    """One look, which always comes to an end and never raises."""
    try:
        async with asyncio.timeout(check.seconds):
            return await check.look(context)
    except TimeoutError:
        return unknown(f"no answer in {check.seconds:g} s")
    except ProviderError as error:
        return unknown(f"{error} [{error.code}]")
    except OSError as error:
        return unknown(f"{error.filename or 'the system'}: {error.strerror or error}")
    except Exception as bug:  # a broken check must not hide the others
        return unknown(f"the check itself failed, which is a bug: {type(bug).__name__}: {bug}"[:300])


def described(check: Check, seen: Seen) -> Finding:
    mendable = check.fix is not None and seen.status is Status.FAILED and seen.mendable
    return Finding(
        id=check.id,
        topic=check.topic,
        status=seen.status,
        severity=Severity(seen.severity or check.severity),
        found=seen.found,
        meaning=check.meaning,
        remedy=seen.remedy or check.remedy,
        fixable=mendable,
    )
