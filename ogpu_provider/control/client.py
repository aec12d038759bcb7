"""The commands' end of the control socket."""

import asyncio
import json
from pathlib import Path
from typing import Any

from ogpu_provider.control.wire import ANSWER_LIMIT, SOCKET_NAME, reachable
from ogpu_provider.domain.errors import ControlError, ControlRefused

TIMEOUT_S = 10.0


class ControlClient:
    """Asks the daemon of one data directory; each question is a connection of its own."""

    def __init__(self, data_dir: Path, *, timeout: float = TIMEOUT_S) -> None:
        self.path = data_dir / SOCKET_NAME
        self._timeout = timeout

    async def ask(self, verb: str, **args: object) -> Any:
        """What the daemon says to `verb`.

        Raises ControlRefused, with the daemon's code, for a refusal; ControlError for no answer:
        `control.no_daemon`, `control.forbidden`, `control.no_answer`.
        """
        try:
            async with asyncio.timeout(self._timeout):
                line = await self._exchange(json.dumps({"verb": verb, "args": args}).encode() + b"\n")
            answer: Any = json.loads(line)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
            raise ControlError(
                f"no daemon runs in {self.path.parent}",
                code="control.no_daemon",
                remedy="start it with `ogpu-provider run`, or check --config and data_dir",
            ) from error
        except PermissionError as error:
            text = f"{self.path} belongs to another user"
            raise ControlError(text, code="control.forbidden", remedy="ask as the daemon's user, or as root") from error
        except (TimeoutError, OSError, ValueError) as error:
            text = f"the daemon did not answer on {self.path}"
            raise ControlError(text, code="control.no_answer", remedy="see the daemon's log") from error
        if isinstance(answer, dict) and "ok" in answer:
            return answer["ok"]
        refusal = answer.get("error", {}) if isinstance(answer, dict) else {}
        raise ControlRefused(
            str(refusal.get("message", "refused")),
            code=str(refusal.get("code", "control.refused")),
            remedy=str(refusal.get("remedy", "")),
        )

    async def _exchange(self, request: bytes) -> bytes:
        with reachable(self.path) as name:
            reader, writer = await asyncio.open_unix_connection(name, limit=ANSWER_LIMIT)
        try:
            writer.write(request)
            await writer.drain()
            line = await reader.readline()
        finally:
            writer.close()
        if not line:
            raise ConnectionResetError("closed without an answer")
        return line
