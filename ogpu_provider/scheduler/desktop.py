"""Is somebody at this machine? Its owner may want it for himself then.

systemd-logind knows who is logged in at a seat (`/run/systemd/sessions`, which everybody may read), and desktops tell
it when nobody has touched anything for a while (`IdleHint`). Nothing is asked that needs a privilege. Somebody logged
in from elsewhere is at no seat; one whose desktop never says that it is idle counts as present until he logs out.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from ogpu_provider.domain.clock import Clock

log = structlog.get_logger()
LOOK_S = 10.0
_ASK_S = 5.0
SESSIONS = Path("/run/systemd/sessions")


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody at a seat. `idle_since`: unix seconds of his last touch, None while he is there or nobody can say."""

    name: str
    idle_since: float | None = None


Sessions = Callable[[], Awaitable[tuple[Session, ...]]]
Ask = Callable[[str], Awaitable[str]]
"""What logind says of a session, by its id: lines of KEY=value; empty if it does not answer."""


class Desktop:
    """`idle_after`: seconds without a touch after which a session does not count."""

    def __init__(self, clock: Clock, sessions: Sessions, idle_after: float) -> None:
        self._clock = clock
        self._sessions = sessions
        self._idle_after = idle_after
        self._present: tuple[str, ...] = ()

    def in_use(self) -> str:
        """Who is there, as of the last look; empty: nobody."""
        return ", ".join(self._present)

    async def run(self, changed: Callable[[], None] = lambda: None) -> None:
        """Look again and again; `changed` is called when the machine is free again. A service."""
        while True:
            before = self._present
            await self.look()
            if before and not self._present:
                changed()
            await self._clock.sleep(LOOK_S)

    async def look(self) -> None:
        try:
            found = await self._sessions()
        except OSError as error:
            log.warning("desktop_unknown", error=str(error))
            return
        since = self._clock.now() - self._idle_after
        present = tuple(each.name for each in found if each.idle_since is None or each.idle_since > since)
        if bool(present) != bool(self._present):
            log.info("desktop_in_use" if present else "desktop_free", sessions=", ".join(present or self._present))
        self._present = present


async def loginctl(session: str) -> str:
    words = ("loginctl", "show-session", session, "--property=IdleHint", "--property=IdleSinceHint")
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return ""
    try:
        async with asyncio.timeout(_ASK_S):
            output, _ = await process.communicate()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        return ""
    return output.decode(errors="replace")


async def seated(folder: Path = SESSIONS, ask: Ask = loginctl) -> tuple[Session, ...]:
    """Who is logged in at this machine and has its screen. No logind: nobody. Raises OSError."""
    try:
        ids = await asyncio.to_thread(lambda: sorted(path.name for path in folder.iterdir() if path.name.isalnum()))
    except FileNotFoundError:
        return ()
    found = []
    for session in ids:
        with contextlib.suppress(FileNotFoundError):  # he has just left
            about = _pairs(await asyncio.to_thread((folder / session).read_text))
            if _at_seat(about):
                name = f"{about.get('USER') or about.get('UID', '?')} at {about['SEAT']} ({about.get('TYPE', '?')})"
                found.append(Session(name, _idle_since(_pairs(await ask(session)))))
    return tuple(found)


def _at_seat(about: Mapping[str, str]) -> bool:
    person = about.get("CLASS", "user").startswith("user")
    return person and about.get("ACTIVE") == "1" and about.get("REMOTE") != "1" and bool(about.get("SEAT"))


def _idle_since(told: Mapping[str, str]) -> float | None:
    since = told.get("IdleSinceHint", "")
    return int(since) / 1e6 if told.get("IdleHint") == "yes" and since.isdigit() else None


def _pairs(text: str) -> dict[str, str]:
    return {key: value for key, _, value in (line.partition("=") for line in text.splitlines()) if key}
