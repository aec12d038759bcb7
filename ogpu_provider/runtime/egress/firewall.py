"""The host's firewall behind iptables-save and iptables-restore, whichever backend the engine's rules are in."""

import asyncio
import contextlib
from pathlib import Path
from typing import Final, Protocol

from ogpu_provider.domain.errors import EngineError, Retry
from ogpu_provider.runtime.composer import SEARCH_PATH
from ogpu_provider.runtime.egress.rules import Family
from ogpu_provider.runtime.egress.table import Table, parse

REMEDY: Final = (
    "install iptables and run the daemon as root or with CAP_NET_ADMIN; or accept that sources reach your network "
    "with runtime.unfiltered_egress = true"
)
_VARIANTS: Final = ("", "-nft", "-legacy")
_COMMANDS: Final = {Family.V4: "iptables", Family.V6: "ip6tables"}
_SECONDS = 15.0


class Firewall(Protocol):
    """The filter tables of this host. Every method raises EngineError `engine.no_firewall`, with the reason."""

    async def families(self) -> tuple[Family, ...]: ...

    async def read(self, family: Family) -> Table: ...

    async def write(self, family: Family, text: str) -> None:
        """Apply the input of `iptables-restore --noflush`: all of it or nothing."""


class Iptables:
    """The first variant (plain, -nft, -legacy) that holds the engine's chain; the plain one if none does."""

    def __init__(self, search_path: str = SEARCH_PATH, ipv6: Path = Path("/proc/net/if_inet6")) -> None:
        self._path = search_path
        self._ipv6 = ipv6
        self._variant: str | None = None

    async def families(self) -> tuple[Family, ...]:
        """A kernel without IPv6 needs no rules for it."""
        return (Family.V4, Family.V6) if self._ipv6.exists() else (Family.V4,)

    async def read(self, family: Family) -> Table:
        if self._variant is None:
            await self._choose()
        return await self._read(family, self._variant or "")

    async def write(self, family: Family, text: str) -> None:
        command = f"{_COMMANDS[family]}{self._variant or ''}-restore"
        await self._run(command, "--noflush", "-w", "5", given=text)

    async def _choose(self) -> None:
        for variant in _VARIANTS:
            with contextlib.suppress(EngineError):
                if "DOCKER-USER" in (await self._read(Family.V4, variant)).chains:
                    self._variant = variant
                    return

    async def _read(self, family: Family, variant: str) -> Table:
        return parse(await self._run(f"{_COMMANDS[family]}{variant}-save", "-c", "-t", "filter"))

    async def _run(self, *words: str, given: str = "") -> str:
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                env={"PATH": self._path},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise _refused(f"{words[0]}: {error.strerror}") from error
        try:
            async with asyncio.timeout(_SECONDS):
                out, err = await process.communicate(given.encode())
        except TimeoutError:
            raise _refused(f"{words[0]} did not end within {_SECONDS:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            said = " ".join(err.decode(errors="replace").split())[:300]
            raise _refused(f"{words[0]}: {said or f'exit code {process.returncode}'}")
        return out.decode(errors="replace")


def name_servers(resolv_conf: Path = Path("/etc/resolv.conf")) -> tuple[str, ...]:
    """The name servers that an engine hands to its containers: this host's, except those on loopback."""
    behind_stub = Path("/run/systemd/resolve/resolv.conf")
    for path in (resolv_conf, behind_stub):
        with contextlib.suppress(OSError):
            words = (line.split() for line in path.read_text().splitlines())
            found = [row[1].partition("%")[0] for row in words if row[:1] == ["nameserver"] and len(row) > 1]
            outside = tuple(each for each in found if not each.startswith("127.") and each != "::1")
            if outside:
                return tuple(dict.fromkeys(outside))
    return ()


def _refused(reason: str) -> EngineError:
    return EngineError(
        f"the firewall cannot be read or changed: {reason}",
        code="engine.no_firewall",
        retry=Retry.LATER,
        remedy=REMEDY,
    )
