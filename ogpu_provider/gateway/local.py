"""The provider on this host, if there is one: what it runs now, and what its containers printed. Read, never asked."""

from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from ogpu_provider.domain.errors import StoreError
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.logs import TaskLogs
from ogpu_provider.store.reader import SqliteReader, open_readonly

log = structlog.get_logger(__name__)
_RAN = frozenset(TaskState) - {TaskState.SEEN, TaskState.ADMITTED, TaskState.READY, TaskState.DECLINED}


class LocalProvider:
    """`data_dir`: the provider's; None where there is none. What cannot be read is as if it were not there."""

    def __init__(self, data_dir: Path | None) -> None:
        self._data_dir = data_dir
        self._reader: SqliteReader | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reader is not None:
            await self._reader.close()

    async def executing(self, task: Address) -> bool:
        """Whether its container works on the task now."""
        return await self._state(task) is TaskState.EXECUTING

    async def logs(self, task: Address) -> list[str] | None:
        """What its containers printed, by line; None where it has not run the task, or not to its end."""
        if self._data_dir is None or await self._state(task) not in _RAN:
            return None
        try:
            text = await TaskLogs(self._data_dir / "logs").read(task)
        except OSError as error:
            log.warning("local_log_not_read", task=task, error=str(error))
            return None
        return text.splitlines() or None

    async def _state(self, task: Address) -> TaskState | None:
        if self._data_dir is None:
            return None
        try:
            if self._reader is None:
                self._reader = await open_readonly(self._data_dir / "provider.db")
            row = await self._reader.task(task)
        except StoreError as error:
            log.debug("local_provider_not_read", code=error.code, error=str(error))
            return None
        return row.state if row else None
