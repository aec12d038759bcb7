"""The second opinion: what the compose command makes of a rendered file, held against the plan. Pure.

`compose config` spells much of a file in its own way (sizes, durations, words, devices); both are brought to one
spelling first, and then must be equal. What it adds, drops or changes is a difference, and a difference refuses.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ogpu_provider.runtime.compose.quantities import duration
from ogpu_provider.runtime.compose.render import Plan

_SPLITS = re.compile(r"[\s'\"\\]")
_EMPTY: tuple[object, ...] = (None, False, "", {}, [])
_NOTHING_SAID = ("ipam", "placement", "volume", "external")
"""Keys that compose writes without a meaning where the file says nothing about them."""


def differences(plan: Plan, opinion: Mapping[str, Any]) -> tuple[str, ...]:
    """What compose understands otherwise than we meant it, in words; empty if nothing. Never raises for an opinion."""
    try:
        return tuple(_compare("", _spelled(opinion, plan.name), _spelled(json.loads(plan.text), plan.name)))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return (f"it has another form than a compose file: {error!r}"[:200],)


def _compare(path: str, seen: Any, meant: Any) -> Iterator[str]:
    if isinstance(seen, dict) and isinstance(meant, dict):
        for key in sorted(seen.keys() | meant.keys()):
            name = f"{path}.{key}" if path else str(key)
            if key not in meant:
                yield f"{name} was added"
            elif key not in seen:
                yield f"{name} was left out"
            else:
                yield from _compare(name, seen[key], meant[key])
    elif seen != meant:
        yield f"{path} is {str(seen)[:100]!r}, not {str(meant)[:100]!r}"


def _spelled(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    services = {each: _service(body) for each, body in document["services"].items()}
    networks = {each: _network(each, body or {}, name) for each, body in (document.get("networks") or {}).items()}
    volumes = {each: _said(body or {}) for each, body in (document.get("volumes") or {}).items()}
    rest = {key: value for key, value in document.items() if key not in ("services", "networks", "volumes")}
    return {**rest, "services": services, "networks": networks, "volumes": volumes}


def _network(key: str, body: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {"name": f"{name}_{key}", **_said(body)}


def _service(body: Mapping[str, Any]) -> dict[str, Any]:
    spelled = {key: _SPELLED.get(key, _as_is)(value) for key, value in body.items()}
    return {key: value for key, value in spelled.items() if key == "networks" or value not in _EMPTY}


def _said(body: Mapping[str, Any]) -> dict[str, Any]:
    """Without what says nothing."""
    return {
        key: value for key, value in body.items() if value not in _EMPTY and not (key in _NOTHING_SAID and not value)
    }


def _as_is(value: Any) -> Any:
    return value


def _words(value: Any) -> Any:
    """Text that compose splits into words: where it splits is the author's own affair, what is in them is compared."""
    return _SPLITS.sub("", value if isinstance(value, str) else "".join(value or ()))


def _seconds(value: Any) -> float:
    return round(duration(str(value)), 3)


def _health(value: Mapping[str, Any]) -> dict[str, Any]:
    times = ("interval", "timeout", "start_period")
    return _said({key: _seconds(each) if key in times else each for key, each in value.items()})


def _device(value: Any) -> str:
    if isinstance(value, Mapping):
        return ":".join(str(value.get(key)) for key in ("source", "target", "permissions"))
    return str(value)


def _limits(value: Mapping[str, Any]) -> dict[str, Any]:
    """0 for both, however it is written: compose leaves a zero out."""
    spelled = {}
    for name, limit in value.items():
        both = limit if isinstance(limit, Mapping) else {"soft": limit, "hard": limit}
        spelled[name] = (int(both.get("soft") or 0), int(both.get("hard") or 0))
    return spelled


def _mount(value: Mapping[str, Any]) -> dict[str, Any]:
    options = _said(value.get("bind") or {})
    return {**_said(value), "bind": options} if options else {k: v for k, v in _said(value).items() if k != "bind"}


def _port(value: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(each) for key, each in value.items()}


_SPELLED: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("mem_limit", "memswap_limit", "shm_size", "pids_limit"), int),
    **dict.fromkeys(("command", "entrypoint"), _words),
    "cpus": float,
    "stop_grace_period": _seconds,
    "healthcheck": _health,
    "deploy": _said,
    "ulimits": _limits,
    "devices": lambda value: [_device(each) for each in value or ()],
    "volumes": lambda value: [_mount(each) for each in value or ()],
    "ports": lambda value: [_port(each) for each in value or ()],
    "expose": lambda value: [str(each) for each in value or ()],
    "extra_hosts": lambda value: [str(each).replace("=", ":", 1) for each in value or ()],
    "networks": lambda value: {name: _said(each or {}) for name, each in (value or {}).items()},
    "depends_on": lambda value: {
        name: {key: said for key, said in each.items() if (key, said) != ("required", True)}
        for name, each in (value or {}).items()
    },
}
