import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.chain.fees import DAY, GWEI, START_GAS, DayBudget, FeeCaps, Fees, GasBook, Suggestion, bump, quote
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
    assert (bumped.tip_fee is None) == (current.tip_fee is None)
    if bumped.tip_fee is not None and previous.tip_fee is not None and current.tip_fee is not None:
        assert bumped.tip_fee * 8 >= previous.tip_fee * 9
        assert previous.tip_fee < bumped.tip_fee <= bumped.max_fee
        assert bumped.tip_fee >= current.tip_fee


def test_a_replacement_of_the_other_kind_pays_its_price_as_a_tip() -> None:
    legacy, modern = Fees(8 * GWEI, None), Fees(4 * GWEI, GWEI)
    assert bump(legacy, modern, FeeCaps()) == Fees(9 * GWEI, 9 * GWEI)
    assert bump(modern, legacy, FeeCaps()) == Fees(8 * GWEI, None)


def test_a_replacement_over_a_cap_is_none_and_at_it_is_one() -> None:
    previous = Fees(8 * GWEI, 8)
    assert bump(previous, previous, FeeCaps(absolute=9 * GWEI)) == Fees(9 * GWEI, 9)
    assert bump(previous, previous, FeeCaps(absolute=9 * GWEI - 1)) is None
    assert bump(previous, Fees(GWEI, 1), FeeCaps(multiple=9)) == Fees(9 * GWEI, 9)
    assert bump(previous, Fees(GWEI, 1), FeeCaps(multiple=8)) is None


def test_the_smallest_fees_grow_too() -> None:
    assert bump(Fees(0, 0), Fees(1, 0), FeeCaps()) == Fees(1, 1)
    assert bump(Fees(1, 1), Fees(1, 1), FeeCaps()) == Fees(2, 2)


def test_a_days_budget_counts_what_was_paid_and_what_may_still_be() -> None:
    budget = DayBudget(100)
    assert budget.allows(0.0, 100)
    assert not budget.allows(0.0, 101)
    budget.paid(59.0, 50)
    budget.paid(0.0, 10)
    budget.paid(60.0, 30)
    assert budget.allows(60.0, 10)
    assert not budget.allows(60.0, 11)
    assert not budget.allows(DAY + 59.9, 11), "a minute counts until all of it is a day old"
    assert budget.allows(DAY + 60, 70)
    assert not budget.allows(DAY + 119.9, 71)
    assert budget.allows(DAY + 120, 100)
    assert not budget.allows(DAY + 120, 101)
    assert DayBudget().allows(0.0, 10**30)


def test_a_days_budget_holds_no_more_than_a_days_minutes() -> None:
    """Whatever a day's transactions are, and whatever order a clock that was set back gives them."""
    budget = DayBudget(10**9)
    tracemalloc.start()
    for n in range(200_000):
        budget.paid(1_800_000_000.0 + n * DAY / 200_000, 1)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 500_000
    assert budget.allows(1_800_000_000.0 + DAY - 1, 10**9 - 200_000)
    assert not budget.allows(1_800_000_000.0 + DAY - 1, 10**9 - 199_999)


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


def test_receipts_alike_are_learnt_at_once() -> None:
    one, many = GasBook(trust=3), GasBook(trust=3)
    for _ in range(3):
        one.learn(Effect.ATTEMPT, used=80_000, limit=600_000, succeeded=True)
    many.learn(Effect.ATTEMPT, used=80_000, limit=600_000, succeeded=True, times=2)
    assert many.limit(Effect.ATTEMPT) == START_GAS[Effect.ATTEMPT]
    many.learn(Effect.ATTEMPT, used=80_000, limit=600_000, succeeded=True)
    assert one.limit(Effect.ATTEMPT) == many.limit(Effect.ATTEMPT) == 100_000


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


def test_at_the_cap_itself_an_offer_is_made() -> None:
    caps = FeeCaps(absolute=10 * GWEI)
    assert quote(10 * GWEI, Suggestion(GWEI, 0), caps) == Fees(10 * GWEI, GWEI)
    assert quote(None, Suggestion(0, 10 * GWEI), caps) == Fees(10 * GWEI, None)


def test_the_figures_an_operator_has_without_settings() -> None:
    assert (GWEI, DAY) == (1_000_000_000, 24 * 3600.0)
    assert FeeCaps() == FeeCaps(absolute=500 * GWEI, multiple=5)


def test_the_limits_before_anything_was_seen() -> None:
    limits = {
        Effect.REGISTER: 1_000_000,
        Effect.UNREGISTER: 600_000,
        Effect.ATTEMPT: 600_000,
        Effect.SUBMIT_RESPONSE: 2_500_000,
        Effect.ANNOUNCE_MASTER: 600_000,
        Effect.SET_BASE_DATA: 600_000,
        Effect.SET_LIVE_DATA: 600_000,
        Effect.FILL: 21_000,  # what a transfer of nothing costs on any chain
        Effect.DEPOSIT: 300_000,
        Effect.LOCK: 300_000,
        Effect.UNBOND: 300_000,
        Effect.CANCEL_UNBONDING: 300_000,
        Effect.CLAIM: 300_000,
        Effect.WITHDRAW: 300_000,
        Effect.PUBLISH_TASK: 3_000_000,
        Effect.CANCEL_TASK: 600_000,
        Effect.CONFIRM_RESPONSE: 900_000,
    }
    book = GasBook()
    assert {effect: book.limit(effect) for effect in limits} == limits
    assert set(limits) == set(START_GAS) == set(Effect)


def test_a_limit_without_trust_is_what_was_learnt() -> None:
    assert GasBook(trust=0).limit(Effect.ATTEMPT) == 0
    assert GasBook(trust=1).limit(Effect.ATTEMPT) == START_GAS[Effect.ATTEMPT]


def test_no_limit_is_over_the_cap() -> None:
    book = GasBook()
    book.learn(Effect.ATTEMPT, used=9_000_000, limit=10_000_000, succeeded=True)
    assert book.limit(Effect.ATTEMPT) == 5_000_000


def test_out_of_gas_is_told_from_a_refusal_by_the_last_64th() -> None:
    book = GasBook()
    book.learn(Effect.ATTEMPT, used=629_999, limit=640_000, succeeded=False)
    assert book.limit(Effect.ATTEMPT) == START_GAS[Effect.ATTEMPT]
    book.learn(Effect.ATTEMPT, used=630_000, limit=640_000, succeeded=False)
    assert book.limit(Effect.ATTEMPT) == 1_280_000
