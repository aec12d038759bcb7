"""Names and networks of a service: its own within the project, nobody else's."""

import re

from ogpu_provider.runtime.compose.draft import NAME, Draft
from ogpu_provider.runtime.compose.policy import FORBIDDEN_LABELS, HOST_GATEWAY
from ogpu_provider.runtime.compose.reader import Field


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
                aliases += (alias for alias in value.texts() if NAME.fullmatch(alias))
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
        [(name, value.text() or "", value) for name, value in at.entries()]
        if at.is_mapping
        else [(*re.split(r"[:=]", item.text() or "", maxsplit=1), item) for item in at.items()]
    )
    for pair in pairs:
        if pair[:-1] != (HOST_GATEWAY, "host-gateway"):
            name = str(pair[0])[:60]
            at.refuse("compose.extra_hosts", f"{name!r}: only {HOST_GATEWAY}:host-gateway is given")


def labels(_draft: Draft, at: Field) -> None:
    for name, where, _value in at.pairs():
        if name.lower().startswith(FORBIDDEN_LABELS):
            where.refuse("compose.label", f"the label {name[:60]} speaks for somebody else")
    at.note("labels of the author are left out: other programs on the host act on labels")
