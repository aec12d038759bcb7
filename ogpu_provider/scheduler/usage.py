"""How long each card, and each slot, had work. Pure; seconds."""

from collections.abc import Sequence


class Usage:
    """`begin` and `end` in the order of time. A card is busy while at least one task runs on it."""

    def __init__(self, begin: float, devices: Sequence[str], slots: int) -> None:
        self.opened = begin
        self.closed = begin
        self.slots = slots
        self.slot_seconds = 0.0
        self.most = 0
        self._since = begin
        self._running = 0
        self._on = dict.fromkeys(devices, 0)
        self._busy = dict.fromkeys(devices, 0.0)
        self._began = dict.fromkeys(devices, begin)

    def begin(self, at: float, devices: Sequence[str]) -> None:
        self._slots(at, 1)
        for device in devices:
            if not self._on[device]:
                self._began[device] = at
            self._on[device] += 1

    def end(self, at: float, devices: Sequence[str]) -> None:
        self._slots(at, -1)
        for device in devices:
            self._on[device] -= 1
            if not self._on[device]:
                self._busy[device] += at - self._began[device]

    def close(self, at: float) -> None:
        """Nothing runs any more."""
        self.closed = max(at, self._since)

    @property
    def span(self) -> float:
        return self.closed - self.opened

    @property
    def busy(self) -> dict[str, float]:
        """Seconds by device."""
        return dict(self._busy)

    def share(self, seconds: float) -> float:
        """Of the whole span, 0 to 1."""
        return min(1.0, seconds / self.span) if self.span > 0 else 0.0

    @property
    def slot_share(self) -> float:
        return self.share(self.slot_seconds / self.slots)

    def _slots(self, at: float, more: int) -> None:
        self.slot_seconds += self._running * (at - self._since)
        self._since = at
        self._running += more
        self.most = max(self.most, self._running)
