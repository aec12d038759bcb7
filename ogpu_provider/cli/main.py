"""Entry of `ogpu-provider`: commands, errors and exit codes.

Exit codes: 0 good; 1 the thing asked about is not good, or was refused; 2 wrong usage, which a wrong setting is too;
3 could not find out; 130 interrupted; 141 nobody reads the output any more, as if SIGPIPE had ended the command. An
error is one sentence with its stable code, and what to do about it.
"""

import os
import select
import sys
import traceback
from collections.abc import Sequence
from typing import TextIO

import cyclopts

from ogpu_provider import __version__, environment
from ogpu_provider.cli import (
    alerts,
    compose,
    config,
    demo,
    devices,
    devnet,
    doctor,
    earnings,
    gateway,
    incumbent,
    keys,
    metrics,
    orders,
    register,
    run,
    service,
    simulate,
    sources,
    status,
    tasks,
    top,
    vault,
    why,
    why_idle,
)
from ogpu_provider.cli.screen import error, printable
from ogpu_provider.domain.errors import ComposeRefused, ConfigError, ControlRefused, KeyRefused, ProviderError
from ogpu_provider.keys.memory import forbid_dumps

USAGE, REFUSED, UNKNOWN = 2, 1, 3
INTERRUPTED, UNHEARD = 130, 141
STOPPED = ("host.", "pairing.", "register.", "source.", "stake.", "tx.", "vault.")
"""Codes of a step that cannot go on, because of what the operator or the chain has."""

app = cyclopts.App(
    name="ogpu-provider",
    help="Provider daemon for the OpenGPU network: run tasks on your GPUs, get paid on chain.",
    version=__version__,
    version_flags=["--version"],
    help_format="plaintext",
    result_action="return_value",
)
app.command(register.register)
app.command(run.run)
app.command(service.app)
app.command(doctor.doctor)
app.command(status.status)
app.command(top.top)
app.command(alerts.app)
app.command(earnings.earnings)
app.command(tasks.app)
app.command(why.why)
app.command(why_idle.why_idle)
app.command(simulate.simulate)
app.command(sources.app)
app.command(devices.app)
app.command(orders.pause)
app.command(orders.resume)
app.command(orders.drain)
app.command(metrics.metrics)
app.command(keys.app)
app.command(vault.app)
app.command(config.app)
app.command(compose.app)
app.command(gateway.app)
app.command(devnet.app)
app.command(demo.demo)


def exit_code(refusal: ProviderError) -> int:
    """1 for a refusal, 2 for a mistake of whoever typed or configured, 3 if the answer is not known."""
    if isinstance(refusal, ConfigError) or refusal.code.startswith("usage"):
        return USAGE
    if isinstance(refusal, ComposeRefused | ControlRefused | KeyRefused):
        return REFUSED
    if refusal.code in ("task.unknown", "task.no_log"):
        return REFUSED
    if refusal.code.startswith(STOPPED) and refusal.code not in ("pairing.waiting", "tx.pending"):
        return REFUSED
    return UNKNOWN


def invoke(words: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code. It says nothing to a pipe that nobody reads."""
    try:
        code = _run(words)
        if sys.stdout is not None:
            sys.stdout.flush()  # at exit it would be too late to tell
    except BrokenPipeError:
        code = UNHEARD
    if code == UNHEARD:
        for stream in (sys.stdout, sys.stderr):
            if _unread(stream):  # what is left in its buffer goes nowhere
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return code


def _unread(stream: TextIO | None) -> bool:
    """Whether this is a pipe whose reader has left."""
    try:
        poll = select.poll()
        poll.register(stream.fileno() if stream else -1, 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError):
        return False


def _run(words: Sequence[str] | None) -> int:
    try:
        outcome = app(words, exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as mistake:
        error(str(mistake), "usage", "--help after a command shows how it is used")
        return USAGE
    except ProviderError as refusal:
        if environment.debug():
            traceback.print_exc()
        error(str(refusal), refusal.code, refusal.remedy)
        return exit_code(refusal)
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as end:  # Ctrl-C by way of the command line's library; else rich's, where nobody reads the output
        return INTERRUPTED if end.code == INTERRUPTED else UNHEARD
    except Exception as bug:
        if _unread(sys.stdout) or _unread(sys.stderr):
            return UNHEARD
        if environment.debug():
            traceback.print_exc()
        text = printable(f"{type(bug).__name__}: {bug}")
        error(text, "internal", "this is a bug; OGPU_PROVIDER_DEBUG=1 shows where it happened")
        return UNKNOWN
    return outcome if isinstance(outcome, int) else 0


def main() -> None:
    forbid_dumps()
    key = environment.take_incumbent_key()
    if key is not None:
        registers = sys.argv[1:2] == ["register"]
        use = "is imported now, if there is no key yet" if registers else "is not used"
        error(
            f"{environment.INCUMBENT_KEY} was in the environment, where every child process can read it; it was "
            f"removed there and {use}",
            "key.environment",
            "`ogpu-provider register` imports it into an encrypted keystore; then start without the variable",
            kind="warning",
        )
        if registers:
            incumbent.keep(key)
    sys.exit(invoke())


if __name__ == "__main__":
    main()
