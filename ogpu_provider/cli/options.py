"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

ConfigFile = Annotated[
    Path | None,
    Parameter(name="--config", help="Settings file; default: the user's own, else the installed service's."),
]
AsJson = Annotated[bool, Parameter(name="--json", negative="", show_default=False, help="Write one JSON document.")]
TaskName = Annotated[str, Parameter(help="Address of the task, or its beginning.")]
