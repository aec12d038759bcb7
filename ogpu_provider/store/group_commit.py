"""One thread that works for a database: what was asked for while a commit was on its way goes into the next, together.

A commit costs a flush of the disk, whatever is in it. Each piece of work keeps the promise that it has alone: it is
durable when its caller goes on, undone as a whole if it raises, and no other piece suffers from its error. That is
rare, so a group is tried as one first; what must not fail together is then done again apart.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

GROUP = 256
"""So many pieces of work at most in one transaction."""

Work = Callable[[sqlite3.Connection], Any]
_ALWAYS: AbstractContextManager[None] = nullcontext()


@dataclass(slots=True, eq=False)
class Piece:
    """`writes`: whether it needs a transaction that is durable; reads share a snapshot."""

    work: Work
    writes: bool
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None

    def run(self, connection: sqlite3.Connection) -> None:
        """Raises sqlite3.Error if the transaction around it is gone."""
        try:
            self.error = None
            self.result = self.work(connection)
        except BaseException as error:  # whoever asked for it gets it
            if not connection.in_transaction:
                raise
            self.error = error

    def settle(self) -> None:
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class GroupCommit:
    """The thread. Errors of the library pass through as they are. `turn` is held for each transaction that writes."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        loop: asyncio.AbstractEventLoop,
        turn: AbstractContextManager[None] = _ALWAYS,
    ) -> None:
        self._connection = connection
        self._loop = loop
        self._turn = turn
        self._queue: SimpleQueue[Piece | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="journal", daemon=True)
        self._ended = False
        self._thread.start()

    def ask(self, work: Work, *, writes: bool) -> asyncio.Future[Any]:
        """Raises RuntimeError after `finish`."""
        if self._ended:
            raise RuntimeError("the database is closed")
        future = self._loop.create_future()
        self._queue.put(Piece(work, writes, future))
        return future

    def finish(self) -> None:
        """Do what was asked for, then end the thread. Blocks."""
        self._ended = True
        self._queue.put(None)
        self._thread.join()

    def _serve(self) -> None:
        going = True
        while going:
            waiting = [self._queue.get()]
            try:
                while len(waiting) < GROUP:
                    waiting.append(self._queue.get_nowait())
            except Empty:
                pass
            going = None not in waiting
            pieces = [piece for piece in waiting if piece is not None and not piece.future.cancelled()]
            for writes in (False, True):
                if some := [piece for piece in pieces if piece.writes is writes]:
                    with self._turn if writes else _ALWAYS:
                        self._do(some, "BEGIN IMMEDIATE" if writes else "BEGIN")
                    self._answer(some)

    def _do(self, pieces: Sequence[Piece], begin: str) -> None:
        """At once; where one raises, apart within one transaction; where that is lost, one by one."""
        try:
            if not self._transact(pieces, begin) and len(pieces) > 1:
                self._transact(pieces, begin, apart=True)
        except BaseException as error:
            if len(pieces) == 1:
                pieces[0].error = error
                return
            for piece in pieces:
                self._do([piece], begin)

    def _transact(self, pieces: Sequence[Piece], begin: str, *, apart: bool = False) -> bool:
        """False if nothing was kept because a piece raised. `apart`: what the others did is kept then."""
        connection = self._connection
        connection.execute(begin)
        try:
            for piece in pieces:
                if apart:
                    connection.execute("SAVEPOINT piece")
                piece.run(connection)
                if apart:
                    if piece.error is not None:
                        connection.execute("ROLLBACK TO piece")
                    connection.execute("RELEASE piece")
            kept = apart or all(piece.error is None for piece in pieces)
            connection.execute("COMMIT" if kept else "ROLLBACK")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return kept

    def _answer(self, pieces: Sequence[Piece]) -> None:
        def settle() -> None:
            for piece in pieces:
                piece.settle()

        try:
            self._loop.call_soon_threadsafe(settle)
        except RuntimeError:  # the loop has ended: nobody waits any more
            return
