"""Programs on a card that are not ours: the owner's game, a training run. While they run the card takes no new work.

A program that only draws and takes little memory is the desktop. Ours is what runs in our containers; everything else
that computes is a stranger. One whose name cannot be read has ended, or lives where we cannot see it: it counts when
it is there at two readings.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.scheduler.reading import DeviceReading, GpuProcess

log = structlog.get_logger()
FOREIGN = "gpu.foreign"
_LISTED = 3
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class StrangerPolicy:
    """`withhold`: whether strangers make a card unavailable. `desktop`: bytes that one which only draws may take."""

    withhold: bool = True
    desktop: int = _GIB


class Strangers:
    """`own` says which of these processes run for us, and raises a ProviderError if it cannot say; `named` is the name
    of a process, None where there is none to be seen.
    """

    def __init__(
        self,
        policy: StrangerPolicy,
        own: Callable[[Collection[int]], Awaitable[Collection[int]]],
        named: Callable[[int], str | None],
    ) -> None:
        self._policy = policy
        self._own = own
        self._named = named
        self._unnamed: frozenset[int] = frozenset()
        self._told: dict[str, tuple[Reason, ...]] = {}

    async def look(self, found: Sequence[DeviceReading], _: Sequence[Reason]) -> Mapping[str, tuple[Reason, ...]]:
        """Why devices are withheld, by their id. Where nobody can say whose the programs are, as it was before."""
        if not self._policy.withhold:
            return {}
        loud = {each.device.id: self._loud(each.processes) for each in found}
        pids = {process.pid for processes in loud.values() for process in processes}
        try:
            ours = set(await self._own(pids)) if pids else set()
        except ProviderError as error:
            log.warning("strangers_unknown", code=error.code, error=str(error))
            return {device: reasons for device, reasons in self._told.items() if loud.get(device)}
        names = {pid: self._named(pid) for pid in pids - ours}
        unnamed = frozenset(pid for pid, name in names.items() if name is None)
        present = {pid for pid in names if pid not in unnamed or pid in self._unnamed}
        self._unnamed = unnamed
        self._tell(
            {
                device: (self._reason(strangers, names),)
                for device, processes in loud.items()
                if (strangers := [process for process in processes if process.pid in present])
            }
        )
        return self._told

    def _loud(self, processes: Sequence[GpuProcess]) -> list[GpuProcess]:
        return [each for each in processes if not each.graphics or (each.memory or 0) > self._policy.desktop]

    def _reason(self, strangers: Sequence[GpuProcess], names: Mapping[int, str | None]) -> Reason:
        most = sorted(strangers, key=lambda process: process.memory or 0, reverse=True)
        told = ", ".join(_described(process, names[process.pid]) for process in most[:_LISTED])
        more = f" and {len(most) - _LISTED} more" if len(most) > _LISTED else ""
        return Reason(FOREIGN, f"in use by {told}{more}")

    def _tell(self, reasons: dict[str, tuple[Reason, ...]]) -> None:
        for device in reasons.keys() - self._told.keys():
            log.warning("device_in_foreign_use", device=device, reason=reasons[device][0].text)
        for device in self._told.keys() - reasons.keys():
            log.info("device_free_of_foreign_use", device=device)
        self._told = reasons


def process_name(pid: int, proc: Path = Path("/proc")) -> str | None:
    """As the kernel has it; None if there is no such process to be seen."""
    try:
        return (proc / str(pid) / "comm").read_text(errors="replace").strip() or None
    except OSError:
        return None


def _described(process: GpuProcess, name: str | None) -> str:
    memory = "memory unknown" if process.memory is None else f"{process.memory / _GIB:.1f} GiB"
    return f"{name or 'a program'} (pid {process.pid}, {memory})"
