"""What a sitting gets of the journal to send."""

from pathlib import Path

from ogpu_provider.domain.intent import Effect, Intent
from ogpu_provider.domain.units import Address
from ogpu_provider.onboarding.desk import SittingJournal

ME, TASK = Address("0x" + "11" * 20), Address("0x" + "7a" * 20)


async def test_what_it_planned_and_what_fills_a_gap_and_no_promise_of_the_daemons(tmp_path: Path) -> None:
    journal = await SittingJournal.open(tmp_path / "provider.db", chain_id=7, provider=ME)
    for effect, subject in ((Effect.ATTEMPT, TASK), (Effect.FILL, ME), (Effect.DEPOSIT, ME)):
        await journal.plan(Intent(f"7:{effect}:{subject}", effect, subject, ME, b""), at=0.0)
    journal.mine.add(f"7:{Effect.DEPOSIT}:{ME}")
    for rows in (await journal.planned_intents(), await journal.open_intents()):
        assert [row.intent.effect for row in rows] == [Effect.FILL, Effect.DEPOSIT]
    await journal.close()
