"""One short-lived container of ours, to see what a container sees: a device, or the way back to this host.

No image is fetched: the container has an empty file system, and in it, read-only, the programs of this host, of which
one shell command of ours runs. So a trial says nothing about anybody's image and needs no network.
"""

import contextlib
import io
import os
import tarfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ogpu_provider.domain.errors import EngineError, Retry
from ogpu_provider.runtime.engine import Engine

LABEL = "ogpu.trial"
_IMAGE, _TAG = "ogpu-provider/empty", "1"
_HOST = "/host"
_SHELLS = ("/bin/bash", "/usr/bin/bash")
_LOADERS = ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1")
_MOUNTED = ("/usr", "/lib", "/lib64", "/bin")
_MEMORY = 256 << 20
_PAUSE = 0.1


@dataclass(frozen=True, slots=True)
class Trial:
    """A line for bash, and what the container gets: NVIDIA device ids, device files of the host. `runtime`: the
    engine's, by name; empty for its own choice.
    """

    script: str
    nvidia: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    runtime: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`output` is at most 4,000 characters. An engine that could not start it gives code 125 and its own words."""

    code: int
    output: str


async def attempt(engine: Engine, trial: Trial, *, seconds: float = 30.0) -> Outcome:
    """Run a trial to its end, or to the time limit (EngineError `engine.trial_timeout`), and remove it.

    Raises EngineError `engine.trial_impossible` where this host has no bash that can be lent.
    """
    words = _words(trial.script)
    return await engine.ask(lambda api: _run(api, trial, words, seconds))


def _words(script: str) -> list[str]:
    shell = _first(_SHELLS)
    if shell is None or _first(_LOADERS) is None:
        raise EngineError("this host has no bash to lend to a trial container", code="engine.trial_impossible")
    return [*_lent(shell, Path(_HOST)), "-c", script]


def lent(program: str) -> str:
    """Shell words, for a trial's script, that start a program which the engine itself put into the container."""
    return " ".join(_lent(Path(program), Path("/")))


def _lent(program: Path, root: Path) -> list[str]:
    """The host's own loader is named: the file system of the container has none."""
    loader = _first(_LOADERS) or Path(_LOADERS[0])
    own = _injected()
    lent = sorted({str(loader.parent), *own})
    path = ":".join([*own, *(_HOST + folder for folder in lent)])
    return [f"{_HOST}{loader}", "--library-path", path, str(root / program.relative_to("/"))]


def _injected() -> tuple[str, ...]:
    """Where the engine puts a driver's libraries."""
    return (f"/usr/lib/{os.uname().machine}-linux-gnu", "/usr/lib64", "/usr/lib")


def _first(paths: Sequence[str]) -> Path | None:
    return next((Path(path).resolve() for path in paths if Path(path).exists()), None)


def _run(api: Any, trial: Trial, words: Sequence[str], seconds: float) -> Outcome:
    _ensure_image(api)
    binds = {path: {"bind": _HOST + path, "mode": "ro"} for path in _MOUNTED if Path(path).exists()}
    requests = [{"driver": "nvidia", "device_ids": list(trial.nvidia), "capabilities": [["gpu", "utility"]]}]
    host = api.create_host_config(
        binds=binds,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        pids_limit=64,
        mem_limit=_MEMORY,
        devices=[f"{node}:{node}:rwm" for node in trial.nodes],
        device_requests=requests if trial.nvidia else None,
        runtime=trial.runtime or None,
        extra_hosts={"host.docker.internal": "host-gateway"},
    )
    row = api.create_container(f"{_IMAGE}:{_TAG}", list(words), host_config=host, labels={LABEL: "yes"})
    try:
        return _follow(api, row["Id"], seconds)
    finally:
        with contextlib.suppress(Exception):  # the outcome is known; what is left behind carries our label
            api.remove_container(row["Id"], force=True, v=True)


def _follow(api: Any, container: str, seconds: float) -> Outcome:
    refused = _refusal(lambda: api.start(container))
    if refused is not None:
        return Outcome(125, refused)
    deadline = time.monotonic() + seconds
    while True:
        state = api.inspect_container(container)["State"]
        if state["Status"] == "exited":
            return Outcome(int(state["ExitCode"]), api.logs(container).decode(errors="replace")[-4000:])
        if time.monotonic() > deadline:
            raise EngineError(
                f"a trial container did not end in {seconds:g} s", code="engine.trial_timeout", retry=Retry.LATER
            )
        time.sleep(_PAUSE)


def _refusal(start: Callable[[], Any]) -> str | None:
    """What the engine says against starting it: that is an answer here, not a failure."""
    try:
        start()
    except Exception as error:
        explanation = getattr(error, "explanation", None)
        if explanation is None:
            raise
        return str(explanation)[:500]
    return None


def _ensure_image(api: Any) -> None:
    """An image of nothing, made here once."""
    if api.images(name=f"{_IMAGE}:{_TAG}", quiet=True):
        return
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        folder = tarfile.TarInfo(_HOST.lstrip("/"))
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(folder)
    api.import_image_from_data(archive.getvalue(), repository=_IMAGE, tag=_TAG)
