"""Names and networks of a service: its own within the project, nobody else's."""

import re

from ogpu_provider.runtime.compose.draft import NAME, Draft
from ogpu_provider.runtime.compose.policy import FORBIDDEN_LABELS, HOST_GATEWAY
from ogpu_provider.runtime.compose.reader import Field

_HOSTNAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?")
_HOSTS = frozenset({"localhost", "host-gateway", "ip6-localhost", "ip6-loopback"})


def networks(draft: Draft, at: Field) -> None:
    if at.is_list:
        draft.values["networks"] = at.texts()
        return
    aliases: list[str] = []
    names: list[str] = []
    for name, options in at.entries():
        names.append(name)
        for key, value in options.entries():
            if key == "aliases":
                aliases += _aliases(value)
            elif key in ("priority", "gw_priority"):
                value.number()
            else:
                value.refuse("compose.network", "addresses on the network are ours to give")
    draft.values["networks"] = tuple(names)
    draft.values["aliases"] = tuple(aliases)


def network_mode(_draft: Draft, at: Field) -> None:
    if at.text() == "bridge":
        at.note("on the project's own bridge")
    elif not at.null:
        at.refuse("compose.network_mode", "network_mode leaves the project's own network")


def extra_hosts(_draft: Draft, at: Field) -> None:
    pairs = (
        [(value, (name, value.text() or "")) for name, value in at.entries()]
        if at.is_mapping
        else [(item, tuple(re.split(r"[:=]", item.text() or "", maxsplit=1))) for item in at.items()]
    )
    for place, pair in pairs:
        if pair != (HOST_GATEWAY, "host-gateway"):
            place.refuse("compose.extra_hosts", f"{pair[0][:60]!r}: only {HOST_GATEWAY}:host-gateway is given")


def _aliases(at: Field) -> list[str]:
    found = []
    for place, alias in at.each():
        if not NAME.fullmatch(alias):
            place.refuse("compose.type", f"{alias[:60]!r} is not an alias")
        elif leads_elsewhere(alias):
            place.refuse("compose.service_name", f"{alias[:60]!r} is a host's name, not a service's")
        else:
            found.append(alias)
    return found


def hostname(draft: Draft, at: Field) -> None:
    text = at.text()
    if text is None:
        return
    if not _HOSTNAME.fullmatch(text):
        at.refuse("compose.type", f"{text[:60]!r} is not a host name")
    elif leads_elsewhere(text):
        at.refuse("compose.service_name", f"{text[:60]!r} is a host's name, not a service's")
    else:
        draft.values["hostname"] = text


def leads_elsewhere(name: str) -> bool:
    """Whether others know this name for something else: a host on the internet, or the container itself."""
    return "." in name or name.lower() in _HOSTS


def labels(at: Field) -> None:
    for name, where, _value in at.pairs():
        if name.lower().startswith(FORBIDDEN_LABELS):
            where.refuse("compose.label", f"the label {name[:60]} speaks for somebody else")
    at.note("labels of the author are left out: other programs on the host act on labels")
