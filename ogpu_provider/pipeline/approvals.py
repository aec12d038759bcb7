"""Whether a source's compose file may run: pinned by its hash, the operator asked when it changes.

The first file of a source that passes the gate is approved by that. A changed one is judged by the policy; waivers
hold for the file that they were given for and no other.
"""

import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace

import structlog

from ogpu_provider.domain.approval import Approval, OnChange
from ogpu_provider.domain.errors import ComposeRefused
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.journal import Journal

log = structlog.get_logger()

ReadImages = Callable[[frozenset[str]], Awaitable[tuple[str, ...]]]
"""The images that a file names, given the rules that are lifted for it. Raises ComposeRefused."""


class NotApproved(ComposeRefused):
    """The operator has not said yes to this file, or may not."""

    default_code = "compose.changed"


class Approvals:
    def __init__(self, journal: Journal, on_change: OnChange, now: Callable[[], float] = time.time) -> None:
        self._journal = journal
        self._on_change = on_change
        self._now = now

    async def waived(self, source: Address, sha256: str, images: ReadImages) -> frozenset[str]:
        """The rules lifted for this file, if it may run.

        Raises NotApproved (`compose.changed`) for a file that waits for the operator, and what `images` raises.
        """
        kept = await self._journal.approval(source)
        if kept is not None and kept.sha256 == sha256:
            if not kept.images:
                found = await images(frozenset(kept.waived))
                await self._journal.approve(replace(kept, images=found))
            return frozenset(kept.waived)
        if kept is None:
            await self._journal.approve(Approval(source, sha256, self._now(), await images(frozenset())))
            return frozenset()
        if self._on_change is OnChange.SAME_IMAGES and kept.images and not kept.waived:
            found = await images(frozenset())
            if sorted(found) == sorted(kept.images):
                await self._journal.approve(Approval(source, sha256, self._now(), found))
                log.warning("compose_changed", source=source, sha256=sha256, was=kept.sha256, images="the same")
                return frozenset()
        raise _changed(source, sha256, kept.sha256, self._on_change)

    async def approve(
        self,
        source: Address,
        *,
        waivable: Collection[str],
        waive: Collection[str] = (),
        reason: str = "",
        sha256: str = "",
    ) -> Approval:
        """Say yes to the file that was last fetched for a source; with `sha256`, to that one only.

        Raises NotApproved: `approve.unknown_source`, `.other_file`, `.not_waivable`, `.no_reason`, `.never`.
        """
        row = next((row for row in await self._journal.sources() if row.address == source), None)
        if row is None or not row.compose_sha256:
            text = f"no compose file of {source} was seen yet"
            raise NotApproved(text, code="approve.unknown_source", remedy="add the source and let the daemon fetch it")
        seen = row.compose_sha256
        if sha256 and sha256.lower() != seen:
            raise NotApproved(
                f"the file last seen is {seen}",
                code="approve.other_file",
                remedy="read that file, and approve it if you want it",
            )
        if wrong := sorted(set(waive) - set(waivable)):
            text = f"{', '.join(wrong)}: cannot be lifted"
            raise NotApproved(text, code="approve.not_waivable", remedy=f"only {', '.join(sorted(waivable))} can")
        if waive and not reason.strip():
            raise NotApproved("a waiver needs a reason", code="approve.no_reason", remedy='add --reason "why"')
        kept = await self._journal.approval(source)
        if self._on_change is OnChange.NEVER and kept is not None and kept.sha256 != seen:
            remedy = "set sources.on_change to ask or same-images"
            raise NotApproved("sources.on_change is never", code="approve.never", remedy=remedy)
        waived = tuple(sorted(set(waive)))
        approval = Approval(source, seen, self._now(), (), waived, reason.strip()[:500], by_operator=True)
        await self._journal.approve(approval)
        return approval


def _changed(source: Address, sha256: str, before: str, policy: OnChange) -> NotApproved:
    remedy = f"look at the file, then `ogpu-provider sources approve {source} --sha256 {sha256}`"
    if policy is OnChange.NEVER:
        remedy = "sources.on_change is never: remove the source, or change the setting"
    return NotApproved(f"the compose file is {sha256[:12]}, approved is {before[:12]}", remedy=remedy)
