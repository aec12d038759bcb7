"""`ogpu-provider config`: what is set, and where it came from."""

from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter

from ogpu_provider.cli.options import AsJson, ConfigFile
from ogpu_provider.cli.screen import document, facts, table

app = cyclopts.App(name="config", help="The settings in force.")

Key = Annotated[str, Parameter(show_default=False, help="A setting (network.rpc_url) or a section (network).")]


@app.command
@app.default
def show(key: Key = "", /, *, json: AsJson = False, config: ConfigFile = None) -> None:
    """Show settings with their values and where each came from."""
    from ogpu_provider.config import load

    loaded = load(config)
    settings = loaded.explain(key)
    if json:
        values = {s.key: {"value": s.value, "origin": s.origin} for s in settings}
        document({"file": str(loaded.file) if loaded.file else None, "settings": values})
        return
    print(f"# file: {loaded.file or 'none'}")
    table(("SETTING", "VALUE", "FROM"), [(s.key, _value(s.value), s.origin) for s in settings])


@app.command
def explain(key: Key = "", /, *, json: AsJson = False, config: ConfigFile = None) -> None:
    """Explain settings: meaning, value, default, and the variable that overrides each."""
    from ogpu_provider.config import load

    settings = load(config).explain(key)
    if json:
        names = ("key", "meaning", "value", "default", "origin", "variable")
        document([{name: getattr(s, name) for name in names} for s in settings])
        return
    for number, s in enumerate(settings):
        print(("\n" if number else "") + s.key)
        facts(
            (
                ("meaning", s.meaning),
                ("value", _value(s.value)),
                ("default", _value(s.default)),
                ("from", s.origin),
                ("variable", s.variable),
            ),
            "  ",
        )


def _value(value: Any) -> str:
    if value is None:
        return "(unset)"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "(none)"
    return str(value).lower() if isinstance(value, bool) else str(value)
