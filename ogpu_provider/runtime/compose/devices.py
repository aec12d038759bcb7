"""The spellings in which a service asks for GPUs. Which ones it gets is never the author's choice."""

import re

from ogpu_provider.runtime.compose.model import Gpu
from ogpu_provider.runtime.compose.policy import Limits
from ogpu_provider.runtime.compose.reader import Field

Need = tuple[Gpu, int]
NOTHING: Need = (Gpu.NONE, 0)
_AMD = re.compile(r"(/dev/kfd|/dev/dri(?:/renderD[0-9]{1,3}|/card[0-9]{1,3})?)(?::\1)?(?::[rwm]{1,3})?")
_NVIDIA_CAPABILITIES = frozenset({"gpu", "nvidia", "compute", "utility"})
_ALL = "all devices: it gets the ones leased to it"


def reservations(field: Field, limits: Limits) -> Need:
    """`deploy.resources.reservations.devices`, and the list form of `gpus`, which has the same shape."""
    found = NOTHING
    for item in field.items():
        found = merge(found, _reservation(item, limits))
    return found


def gpus(field: Field, limits: Limits) -> Need:
    if not field.is_list:
        if field.text() == "all":
            field.note(_ALL)
            return Gpu.NVIDIA, limits.granted
        field.refuse("compose.gpu", "gpus is all, or a list")
        return NOTHING
    return reservations(field, limits)


def runtime(field: Field) -> Need:
    match field.text():
        case "nvidia":
            field.note("the devices come from the lease, the runtime from the engine")
            return Gpu.NVIDIA, 1
        case None | "runc":
            return NOTHING
        case name:
            field.refuse("compose.runtime", f"the runtime {name[:40]!r} is not given")
            return NOTHING


def amd(field: Field, limits: Limits) -> Need:
    """`devices:` may name the pair of an AMD GPU and nothing else."""
    found, named = NOTHING, 0
    for item in field.items():
        text = item.text() or ""
        match = _AMD.fullmatch(text)
        if item.is_mapping or not match:
            item.refuse(
                "compose.device", f"the device {text[:60]!r}; only /dev/kfd and /dev/dri of an AMD GPU are given"
            )
            continue
        named += "renderD" in match[1]
        found = Gpu.AMD, named or limits.granted
    if found[0] is Gpu.AMD:
        field.note("/dev/kfd and the render nodes of the leased devices, no others")
    return found


def merge(one: Need, other: Need) -> Need:
    """Two spellings in one service mean the same devices: the larger figure counts."""
    if Gpu.NONE in (one[0], other[0]):
        return other if one[0] is Gpu.NONE else one
    return one[0], max(one[1], other[1])


def _reservation(item: Field, limits: Limits) -> Need:
    count, listed = 1, 0
    for key, value in item.entries():
        match key:
            case "driver":
                if value.text() not in (None, "nvidia", "cdi"):
                    value.refuse("compose.gpu", "the driver is nvidia")
                elif value.text() == "cdi":
                    value.refuse("compose.cdi", "CDI names devices of the host; reserve by count")
            case "count":
                count = _count(value, limits)
            case "device_ids":
                listed = len(value.texts())
                value.note("which devices it gets is the lease's choice")
            case "capabilities":
                _capabilities(value)
            case _:
                value.refuse("compose.gpu", "not part of a reservation that is given")
    needed = listed or count
    if not 0 < needed <= limits.devices:
        item.refuse("compose.gpu", f"{needed} devices; between 1 and {limits.devices} are given")
    return Gpu.NVIDIA, needed


def _count(field: Field, limits: Limits) -> int:
    if field.text() == "all":
        field.note(_ALL)
        return limits.granted
    number = field.number()
    if number == -1:
        field.note(_ALL)
        return limits.granted
    return 1 if number is None else number


def _capabilities(field: Field) -> None:
    names: set[str] = set()
    for item in field.items():
        names.update(item.texts())
    if names - _NVIDIA_CAPABILITIES:
        field.note("capabilities are compute and utility")
