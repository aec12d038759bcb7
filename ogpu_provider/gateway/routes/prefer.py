"""`Prefer: wait=N` (RFC 7240): answer once the task is over, or after N seconds."""

import re
from typing import Annotated

from fastapi import Header

from ogpu_provider.domain.order import Order
from ogpu_provider.gateway.routes.context import Api

LONGEST_S = 60
Preferred = Annotated[str, Header(max_length=200, description="wait=N: up to 60 seconds until the task is over.")]
_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,6})(?:$|[,;\s])")


async def waited(api: Api, order: Order, prefer: str) -> tuple[Order, dict[str, str]]:
    """The order after that time, and the header that says so."""
    found = _WAIT.search(prefer)
    if found is None:
        return order, {}
    seconds = min(int(found[1]), LONGEST_S)
    return await api.streams.wait(order, seconds), {"Preference-Applied": f"wait={seconds}"}
