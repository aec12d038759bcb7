from ogpu_provider.domain.facts import Attempted, Origin
from ogpu_provider.domain.units import Address, Hash
from ogpu_provider.scheduler.rivals import Rivals

TASK, OTHER = Address("0x" + "11" * 20), Address("0x" + "22" * 20)
ONE, TWO = Address("0x" + "aa" * 20), Address("0x" + "bb" * 20)


def bid(provider: Address, amount: int, task: Address = TASK) -> Attempted:
    return Attempted(Origin(1, Hash("0x01"), Hash("0x02"), 0), task, provider, amount)


def test_the_lowest_of_the_newest_words_counts() -> None:
    rivals = Rivals()
    assert rivals.lowest(TASK) is None
    for heard in (bid(ONE, 50), bid(TWO, 80), bid(ONE, 90), bid(ONE, 1, OTHER)):
        rivals.hear(heard)
    assert rivals.lowest(TASK) == 80
    assert rivals.of(TASK) == {ONE: 90, TWO: 80}
    rivals.forget(TASK)
    assert rivals.lowest(TASK) is None
    assert rivals.lowest(OTHER) == 1


def test_what_is_remembered_is_bounded() -> None:
    rivals = Rivals()
    for n in range(10_001):
        rivals.hear(bid(ONE, n, Address(f"0x{n:040x}")))
    assert rivals.lowest(Address(f"0x{0:040x}")) is None
    assert rivals.lowest(Address(f"0x{10_000:040x}")) == 10_000
