"""A host of its own without a machine of its own: a mount namespace whose /etc, /opt and /var/lib are drafts.

What is written there is gone with it; the real ones are only read. Programs that a bare checkout does not have in place
are stood in for: `sudo`, `systemctl` (beside this file), `pip`. Users are made by systemd's own systemd-sysusers.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import sysconfig
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

HERE = Path(__file__).parent
ROOT = Path(__file__).parents[3]
PLACE = Path("/run/walk")
_SETUP = """
set -eu
mount -t tmpfs -o mode=0755 tmpfs /run/walk
for tree in etc opt var/lib; do
  mkdir -p /run/walk/draft/$tree /run/walk/work/$tree
  mount -t overlay overlay -o lowerdir=/$tree,upperdir=/run/walk/draft/$tree,workdir=/run/walk/work/$tree /$tree
done
cd /opt && rm -rf ogpu-provider && mkdir -p ogpu-provider/bin ogpu-provider/python ogpu-provider/lib ogpu-provider/src
mount --bind "$BASE" ogpu-provider/python
mount --bind "$LIBRARIES" ogpu-provider/lib
mount --bind "$SOURCE_TREE" ogpu-provider/src
mkdir /run/walk/bin
printf '#!/bin/sh\\nexec env "$@"\\n' >/run/walk/bin/sudo
printf '#!/bin/sh\\necho "$@" >>/run/walk/pip\\n' >ogpu-provider/bin/pip
cat >ogpu-provider/bin/ogpu-provider
cp "$HERE/systemctl" /run/walk/bin/
cp "$COMPOSE" ogpu-provider/bin/docker-compose
chmod 0755 /run/walk/bin/* ogpu-provider/bin/*
ln -s /opt/ogpu-provider/bin/ogpu-provider /run/walk/bin/
rm -rf /etc/ogpu-provider /var/lib/ogpu-provider
getent group docker >/dev/null || echo docker:x:$(stat -c %g /var/run/docker.sock): >>/etc/group
echo ready
exec sleep infinity
"""
_PROGRAM = """#!/bin/sh
# this host's fitness is not what is looked at
[ "${1:-}" != register ] || set -- "$@" --skip-host-check
export LD_LIBRARY_PATH=/opt/ogpu-provider/python/lib
export PYTHONPATH=/opt/ogpu-provider/src:/opt/ogpu-provider/lib PYTHONHOME=/opt/ogpu-provider/python
exec /opt/ogpu-provider/python/bin/%s -c 'import sys
from ogpu_provider.cli.main import main
sys.argv[0] = "/opt/ogpu-provider/bin/ogpu-provider"
sys.exit(main())' "$@"
"""


def leave_no_trace() -> None:
    """Remove the place that drafts were mounted on, when every such host has gone."""
    with suppress(OSError):
        PLACE.rmdir()


def missing_part() -> str:
    """Why there can be no such host here; empty if there can."""
    if os.geteuid() != 0:
        return "a host in a namespace needs root"
    absent = [name for name in ("unshare", "nsenter", "setpriv", "systemd-sysusers") if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


@dataclass(frozen=True)
class Done:
    code: int
    out: str


class Machine:
    """`home` is the folder in which commands are given. `compose`: the program of Docker Compose."""

    def __init__(self, home: Path, compose: Path, variables: dict[str, str]) -> None:
        self._home = home
        self._compose = compose
        self._variables = variables
        self._holder: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        PLACE.mkdir(exist_ok=True)
        given = {
            "BASE": sys.base_prefix,
            "LIBRARIES": sysconfig.get_path("purelib"),
            "SOURCE_TREE": str(ROOT),
            "HERE": str(HERE),
            "COMPOSE": str(self._compose),
        }
        self._holder = await asyncio.create_subprocess_exec(
            *("unshare", "--mount", "--propagation", "private", "sh", "-c", _SETUP),
            env={**os.environ, **given},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.write((_PROGRAM % Path(os.path.realpath(sys.executable)).name).encode())
        self._holder.stdin.close()
        assert await self._holder.stdout.readline() == b"ready\n"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._holder is not None
        await self.run("systemctl stop")
        self._holder.kill()
        await self._holder.wait()

    async def run(self, script: str, given: str = "", **variables: str) -> Done:
        """Commands as a person types them, until one fails; both outputs as one."""
        run = await self.start(script, given, **variables)
        out, _ = await run.communicate(given.encode() or None)
        assert run.returncode is not None
        return Done(run.returncode, out.decode(errors="replace"))

    async def start(self, script: str, given: str = "", **variables: str) -> asyncio.subprocess.Process:
        assert self._holder is not None
        return await asyncio.create_subprocess_exec(
            *("nsenter", "--mount", "--target", str(self._holder.pid), f"--wd={self._home}", "bash", "-ec", script),
            env={**self._environment(), **variables},
            stdin=asyncio.subprocess.PIPE if given else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def _environment(self) -> dict[str, str]:
        system = {"PATH": "/run/walk/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self._home), "LANG": "C.UTF-8"}
        return system | self._variables
