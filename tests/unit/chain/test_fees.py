from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.chain.fees import GWEI, START_GAS, FeeCaps, Fees, GasBook, Suggestion, bump, quote
from ogpu_provider.domain.intent import Effect

AMOUNT = st.integers(0, 10**13)
SUGGESTION = st.builds(Suggestion, AMOUNT, AMOUNT)
CAPS = st.builds(FeeCaps, st.integers(1, 10**13), st.integers(1, 10))


def test_a_first_offer_survives_a_doubled_base_fee() -> None:
    assert quote(10 * GWEI, Suggestion(GWEI, 99), FeeCaps()) == Fees(21 * GWEI, GWEI)


def test_without_a_base_fee_the_gas_price_is_paid() -> None:
    assert quote(None, Suggestion(GWEI, 3 * GWEI), FeeCaps()) == Fees(3 * GWEI, None)
    assert quote(None, Suggestion(GWEI, 3 * GWEI), FeeCaps(absolute=2 * GWEI)) is None


def test_over_the_cap_nothing_is_offered() -> None:
    caps = FeeCaps(absolute=10 * GWEI)
    assert quote(8 * GWEI, Suggestion(GWEI, 0), caps) == Fees(10 * GWEI, GWEI)
    assert quote(11 * GWEI, Suggestion(GWEI, 0), caps) is None


@given(base_fee=st.none() | AMOUNT, suggestion=SUGGESTION, caps=CAPS)
def test_an_offer_stays_under_the_cap_and_its_tip_under_the_offer(
    base_fee: int | None, suggestion: Suggestion, caps: FeeCaps
) -> None:
    fees = quote(base_fee, suggestion, caps)
    if fees is None:
        assert (suggestion.gas_price if base_fee is None else base_fee) > caps.absolute
        return
    assert 0 <= fees.max_fee <= caps.absolute
    assert (fees.tip_fee is None) == (base_fee is None)
    if fees.tip_fee is not None and base_fee is not None:
        assert 0 <= fees.tip_fee <= fees.max_fee
        assert fees.max_fee >= base_fee


@given(base_fee=st.none() | AMOUNT, later=st.none() | AMOUNT, first=SUGGESTION, second=SUGGESTION, caps=CAPS)
def test_a_replacement_is_taken_by_a_pool_and_keeps_the_caps(
    base_fee: int | None, later: int | None, first: Suggestion, second: Suggestion, caps: FeeCaps
) -> None:
    previous, current = quote(base_fee, first, caps), quote(later, second, caps)
    if previous is None or current is None:
        return
    bumped = bump(previous, current, caps)
    if bumped is None:
        return
    assert bumped.max_fee * 8 >= previous.max_fee * 9
    assert bumped.max_fee > previous.max_fee
    assert current.max_fee <= bumped.max_fee <= min(caps.absolute, caps.multiple * current.max_fee)
    assert (bumped.tip_fee is None) == (previous.tip_fee is None)
    if bumped.tip_fee is not None and previous.tip_fee is not None and current.tip_fee is not None:
        assert bumped.tip_fee * 8 >= previous.tip_fee * 9
        assert previous.tip_fee < bumped.tip_fee <= bumped.max_fee
        assert bumped.tip_fee >= current.tip_fee


@given(base_fee=st.integers(1, 10**12), suggestion=SUGGESTION)
def test_bumping_ends_at_the_ceiling(base_fee: int, suggestion: Suggestion) -> None:
    caps = FeeCaps(absolute=10**15)
    current = quote(base_fee, suggestion, caps)
    assert current is not None
    fees: Fees | None = current
    rounds = 0
    while fees is not None:
        fees = bump(fees, current, caps)
        rounds += 1
        assert rounds < 20


def test_a_limit_falls_only_after_some_receipts() -> None:
    book = GasBook(trust=3)
    for used in (80_000, 90_001, 85_000):
        assert book.limit(Effect.ATTEMPT) == START_GAS[Effect.ATTEMPT]
        book.learn(Effect.ATTEMPT, used=used, limit=600_000, succeeded=True)
    assert book.limit(Effect.ATTEMPT) == 113_000
    assert book.limit(Effect.REGISTER) == START_GAS[Effect.REGISTER]


def test_a_limit_rises_at_once() -> None:
    book = GasBook()
    book.learn(Effect.ATTEMPT, used=900_000, limit=1_000_000, succeeded=True)
    assert book.limit(Effect.ATTEMPT) == 1_125_000


def test_running_out_of_gas_doubles_the_limit_and_another_failure_does_not() -> None:
    book = GasBook(cap=1_000_000)
    book.learn(Effect.ATTEMPT, used=30_000, limit=600_000, succeeded=False)
    assert book.limit(Effect.ATTEMPT) == 600_000
    book.learn(Effect.ATTEMPT, used=595_000, limit=600_000, succeeded=False)
    assert book.limit(Effect.ATTEMPT) == 1_000_000
