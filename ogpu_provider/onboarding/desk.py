"""Sends what the operator confirmed, with the provider's key or the gateway's: each thing once, however often the
sitting is cut off.

Every transaction is an intent of the journal: planned, signed and stored before it is sent. The next sitting first
brings to its end what an earlier one has signed, and only then looks at the chain and asks again.
"""

import asyncio
from collections.abc import Collection
from dataclasses import replace

from ogpu_provider.chain import contracts, decode
from ogpu_provider.chain.account import Peers
from ogpu_provider.chain.fees import START_GAS, FeeCaps, Suggestion, quote
from ogpu_provider.chain.mastery import Unsigned
from ogpu_provider.chain.networks import Network
from ogpu_provider.chain.sender import Sender
from ogpu_provider.chain.wallet import Wallet
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import ChainError, ProviderError, Retry, RpcRejected
from ogpu_provider.domain.facts import Block
from ogpu_provider.domain.intent import Effect, Intent, IntentRow, IntentState
from ogpu_provider.domain.together import first_of
from ogpu_provider.domain.units import Address, Wei, coin
from ogpu_provider.keys.client_policy import ClientPolicy
from ogpu_provider.keys.policy import Policy, VaultCall
from ogpu_provider.keys.signer import Rules, SecretKey, Signer
from ogpu_provider.store.database import Database
from ogpu_provider.store.orders import GatewayStore
from ogpu_provider.store.outbox import OutboxWriter
from ogpu_provider.store.sqlite import SqliteStore

PATIENCE_S = 180.0
POLL_S = 0.3


class SittingOutbox(OutboxWriter):
    """Of the outbox, the sender gets what was signed already, what this sitting planned, and what fills a gap.

    What else a daemon only planned is the daemon's: its promises are not made while nobody can keep them.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.mine: set[str] = set()

    async def open_intents(self) -> list[IntentRow]:
        rows = await super().open_intents()
        return [row for row in rows if row.state is not IntentState.PLANNED or self._may(row.intent)]

    async def planned_intents(self) -> list[IntentRow]:
        return [row for row in await super().planned_intents() if self._may(row.intent)]

    def _may(self, intent: Intent) -> bool:
        return intent.key in self.mine or intent.effect is Effect.FILL  # without which nothing behind the gap gets in


class SittingJournal(SittingOutbox, SqliteStore):
    """The provider's."""


class SittingOrders(SittingOutbox, GatewayStore):
    """The gateway's."""


class _Head:
    block: Block | None = None


class Desk:
    """A key's transactions during a sitting. Raises what its parts raise, and ChainError (tx.*).

    `rules`: what its owner, the daemon or the gateway, may sign; what the operator confirms here comes on top.
    """

    def __init__(
        self,
        rpc: Peers,
        network: Network,
        key: SecretKey,
        journal: SittingOutbox,
        clock: Clock,
        confirmations: int,
        rules: Policy | ClientPolicy,
    ) -> None:
        self._rpc = rpc
        self._network = network
        self._key = key
        self._journal = journal
        self._clock = clock
        self._confirmations = confirmations
        self._rules = rules
        self._wallet = Wallet(rpc, network)

    @property
    def account(self) -> Address:
        return self._key.address

    async def announced(self, master: Address) -> bool:
        """Whether the journal knows that the key announced this master."""
        rows = await self._journal.intents_of(master)
        return any(r.intent.effect is Effect.ANNOUNCE_MASTER and r.state is IntentState.CONFIRMED for r in rows)

    async def reached(self) -> int:
        """The newest block in which the journal knows a transaction between the key and the Vault; 0 without one."""
        return max((row.block_number or 0 for row in await self._journal.intents_of(self.account)), default=0)

    async def settle(self) -> list[IntentRow]:
        """Bring to their end the transactions that were signed and perhaps sent before; their rows."""
        signed = await self._journal.open_intents()
        if not signed:
            return []
        rules = self._rules  # what was signed was confirmed then; it may have to be signed again, dearer
        for intent in (row.intent for row in signed):
            if intent.effect is Effect.ANNOUNCE_MASTER:
                rules = self._announcing(intent.subject)
            elif intent.to == self._network.vault:
                rules = replace(rules, confirmed=VaultCall(intent.to, intent.data, intent.value))
        return await self._carry({row.intent.key for row in signed}, rules)

    async def fee(self, *effects: Effect) -> Wei:
        """The most that transactions may cost now, in wei."""
        found = await self._wallet.fees()
        tip = found.gas_price if found.tip is None else found.tip
        fees = quote(found.base_fee, Suggestion(tip, found.gas_price), FeeCaps())
        if fees is None:
            raise ChainError("gas is dearer than the cap just now", code="tx.too_dear", remedy="try again later")
        return sum(START_GAS[effect] for effect in effects) * fees.max_fee

    async def announce_master(self, master: Address) -> IntentRow:
        what = contracts.announce_master(self._network.terminal, master)
        intent = self._intent(Effect.ANNOUNCE_MASTER, master, what.to, what.data)
        return await self._send(intent, self._announcing(master))

    async def register(self, intent: Intent) -> IntentRow:
        return await self._send(intent, self._rules)

    async def vault(self, effect: Effect, call: Unsigned) -> IntentRow:
        """One call to the Vault, exactly as it was shown."""
        intent = self._intent(effect, self.account, call.to, call.data, call.value)
        confirmed = VaultCall(call.to, call.data, call.value)
        return await self._send(intent, replace(self._rules, confirmed=confirmed))

    async def rehearse(self, to: Address, data: bytes, value: Wei = 0) -> None:
        """Ask the chain whether it would take the call. Raises ChainError tx.would_fail."""
        call = {"from": self.account, "to": to, "data": "0x" + data.hex(), "value": hex(value)}
        try:
            await self._rpc.call("eth_call", call, "latest")
        except RpcRejected as refusal:
            raise ChainError(
                f"the chain would refuse it: {refusal}",
                code="tx.would_fail",
                retry=Retry.NEVER,
                remedy="nothing was sent; put right what the chain names, then run this again",
            ) from refusal

    async def afford(self, value: Wei, *effects: Effect) -> None:
        """Raises ChainError tx.not_enough_balance unless the account can pay the value and the gas."""
        has, fee = await self._wallet.balance(self.account), await self.fee(*effects)
        if has < value + fee:
            currency = self._network.currency
            raise ChainError(
                f"{self.account} has {coin(has)} {currency}, and needs {coin(value + fee)} {currency}"
                f" ({coin(value)} to send, up to {coin(fee)} for gas)",
                code="tx.not_enough_balance",
                retry=Retry.LATER,
                remedy=f"send at least {coin(value + fee - has)} {currency} to {self.account}, then run this again",
            )

    # One at a time.

    async def _send(self, intent: Intent, rules: Rules) -> IntentRow:
        intent = await self._numbered(intent)
        await self.afford(intent.value, intent.effect)
        await self.rehearse(intent.to, intent.data, intent.value)
        await self._journal.plan(intent, at=self._clock.now())
        self._journal.mine.add(intent.key)
        [row] = await self._carry({intent.key}, rules)
        if row.state is not IntentState.CONFIRMED:
            raise ChainError(
                f"{intent.effect} failed on chain: transaction {row.tx_hash} is {row.state}",
                code="tx.failed",
                retry=Retry.NEVER,
                remedy="run this again: it looks at the chain first and asks before it sends anything",
            )
        return row

    async def _numbered(self, intent: Intent) -> Intent:
        """The same intent under a key that is unused, or that is planned for just this and was never signed."""
        number = 1
        while True:
            wanted = replace(intent, key=f"{intent.key}:{number}")
            row = await self._journal.intent(wanted.key)
            if row is None:
                return wanted
            if row.state is IntentState.PLANNED:
                if (row.intent.to, row.intent.data, row.intent.value) == (wanted.to, wanted.data, wanted.value):
                    return wanted
                await self._journal.set_state(wanted.key, IntentState.ABANDONED, at=self._clock.now())
            number += 1

    async def _carry(self, keys: Collection[str], rules: Rules) -> list[IntentRow]:
        """Run a sender until the intents are closed. Raises ChainError tx.pending after a while."""
        head = _Head()
        ended = asyncio.Event()

        async def outcome(_: IntentRow) -> None:
            ended.set()

        sender = Sender(
            self._rpc,
            self._journal,
            Signer(self._key, rules),
            self._clock,
            head,
            outcome,
            confirmations=self._confirmations,
        )
        try:
            async with asyncio.TaskGroup() as group:
                services = (group.create_task(sender.run()), group.create_task(self._follow(head, sender)))
                try:
                    rows = await self._closed(keys, ended)
                finally:
                    for service in services:
                        service.cancel()
        except* ProviderError as errors:
            raise first_of(errors) from None
        return rows

    async def _closed(self, keys: Collection[str], ended: asyncio.Event) -> list[IntentRow]:
        end = self._clock.monotonic() + PATIENCE_S
        while True:
            rows = [row for key in keys if (row := await self._journal.intent(key))]
            waiting = [row for row in rows if row.state.open]
            if not waiting:
                return rows
            if self._clock.monotonic() > end:
                names = ", ".join(f"{row.intent.effect} ({row.tx_hash or 'not signed'})" for row in waiting)
                raise ChainError(
                    f"not settled after {PATIENCE_S:.0f} s: {names}",
                    code="tx.pending",
                    remedy="run this again: it waits for the same transactions and sends no others",
                )
            ended.clear()
            await self._clock.sleep(POLL_S)

    async def _follow(self, head: _Head, sender: Sender) -> None:
        """New blocks, asked for; a node that does not answer is asked again."""
        while True:
            try:
                block = decode.block(await self._rpc.call("eth_getBlockByNumber", "latest", False))
                if head.block is None or block.hash != head.block.hash:
                    head.block = block
                    await sender.observe(block, ())
            except ProviderError as error:
                if error.retry is Retry.NEVER:
                    raise
            await self._clock.sleep(POLL_S)

    def _announcing(self, master: Address) -> Policy:
        assert isinstance(self._rules, Policy), "only a provider has a master"
        return replace(self._rules, master=master)

    def _intent(self, effect: Effect, subject: Address, to: Address, data: bytes, value: Wei = 0) -> Intent:
        return Intent(f"{self._network.chain_id}:{effect}:{subject}", effect, subject, to, data, value=value)
