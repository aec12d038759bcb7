"""`ogpu-provider demo`: a provider that earns, on a network of its own on this machine."""

from typing import Annotated

from cyclopts import Parameter

from ogpu_provider.cli.options import AsJson


async def demo(
    *,
    json: AsJson = False,
    hold: Annotated[
        bool, Parameter(negative="", show_default=False, help="Stay up afterwards, until stopped.")
    ] = False,
    no_engine: Annotated[
        bool,
        Parameter(negative="", show_default=False, help="Run the handlers as plain processes, without isolation."),
    ] = False,
) -> int:
    """Publish sources and tasks with the official SDK, serve them, and show what was earned.

    Exit code 1 if a task did not end as it should.
    """
    from ogpu_provider.cli.foreground import until_stopped
    from ogpu_provider.devnet.demo import run

    code = await until_stopped(run(as_json=json, hold=hold, engine=not no_engine))
    return 0 if code is None and hold else 130 if code is None else code
