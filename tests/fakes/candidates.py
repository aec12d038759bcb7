"""Tasks to decide on about which nothing is remarkable: paid, in time, of a function that is there."""

from ogpu_provider.domain.admission import Candidate
from ogpu_provider.domain.source import DeliveryMethod, Environment
from ogpu_provider.domain.units import Address


def wanting(
    n: int, source: Address, environment: Environment = Environment.CPU, functions: frozenset[str] | None = None
) -> Candidate:
    """The `n`-th task, of `source`, at 1000 s; it expires 1000 s later."""
    return Candidate(
        task=Address(f"0x{n:040x}"),
        source=source,
        client=None,
        obliged=False,
        payment=1,
        expiry=2000,
        delivery=DeliveryMethod.FIRST_RESPONSE,
        environment=environment,
        function="f",
        functions=functions,
        violations=(),
        source_problem="",
        now=1000.0,
    )
