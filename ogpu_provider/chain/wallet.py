"""What the commands ask about an account: coin, nonce, fees, the Vault, and who is paired with whom."""

from dataclasses import dataclass

from ogpu_provider.chain.contracts import decode_result, present
from ogpu_provider.chain.networks import Network
from ogpu_provider.chain.reader import granted, view
from ogpu_provider.chain.receipts import Node
from ogpu_provider.chain.wire import JsonRpcError
from ogpu_provider.domain.units import Address, Wei


@dataclass(frozen=True, slots=True)
class VaultAccount:
    """An account in the Vault, in wei. `unbonding_at` in unix seconds, 0 if nothing is unbonding."""

    balance: Wei
    lockup: Wei
    unbonding: Wei
    unbonding_at: int
    earned: Wei
    sanctioned: Wei
    eligible: bool
    whitelisted: bool


@dataclass(frozen=True, slots=True)
class VaultTerms:
    """What the Vault demands of everybody: wei for each source, seconds until unbonded coin can be claimed."""

    min_lockup_per_source: Wei
    unbonding_period: int


@dataclass(frozen=True, slots=True)
class Pairing:
    """A provider's standing in the Terminal. Work is possible when both sides announced the other."""

    master: Address | None
    announced: bool
    base_data: str
    live_data: str


@dataclass(frozen=True, slots=True)
class FeeData:
    """Wei per gas. `base_fee` is None on a chain without type-2 transactions, `tip` where the node suggests none."""

    base_fee: Wei | None
    gas_price: Wei
    tip: Wei | None


class Wallet:
    """Each method is one round trip. Raises as the reader does."""

    def __init__(self, rpc: Node, network: Network) -> None:
        self._rpc = rpc
        self._network = network

    async def balance(self, account: Address) -> Wei:
        """Coin of the account itself, for gas; what the Vault holds for it is in `vault`."""
        return int(await self._rpc.call("eth_getBalance", account, "latest"), 16)

    async def nonce(self, account: Address, tag: str = "latest") -> int:
        return int(await self._rpc.call("eth_getTransactionCount", account, tag), 16)

    async def fees(self) -> FeeData:
        header, price, tip = await self._rpc.batch(
            [("eth_getBlockByNumber", ("latest", False)), ("eth_gasPrice", ()), ("eth_maxPriorityFeePerGas", ())]
        )
        header, price = granted([header, price])
        base = header.get("baseFeePerGas")
        return FeeData(
            base_fee=None if base is None else int(base, 16),
            gas_price=int(price, 16),
            tip=None if isinstance(tip, JsonRpcError) else int(tip, 16),
        )

    async def vault(self, account: Address) -> VaultAccount:
        names = ("balanceOf", "lockupOf", "unbondingOf", "unbondingTimestamp", "totalEarningsOf", "sanctionOf")
        flags = ("isEligible", "isWhitelisted")
        calls = [f"Vault.{name}" for name in (*names, *flags)]
        answers = granted(await self._rpc.batch([view(self._network.vault, name, account) for name in calls]))
        return VaultAccount(*(decode_result(name, answer) for name, answer in zip(calls, answers, strict=True)))

    async def terms(self) -> VaultTerms:
        calls = ("Vault.MIN_LOCKUP_PER_SOURCE", "Vault.UNBONDING_PERIOD")
        answers = granted(await self._rpc.batch([view(self._network.vault, name) for name in calls]))
        return VaultTerms(*(decode_result(name, answer) for name, answer in zip(calls, answers, strict=True)))

    async def pairing(self, provider: Address) -> Pairing:
        calls = ("Terminal.masterOf", "Terminal.isProvider", "Terminal.baseDataOf", "Terminal.liveDataOf")
        answers = granted(await self._rpc.batch([view(self._network.terminal, name, provider) for name in calls]))
        master, announced, base, live = (
            decode_result(name, answer) for name, answer in zip(calls, answers, strict=True)
        )
        return Pairing(present(master), announced, base, live)

    async def provider_of(self, master: Address) -> Address | None:
        [answer] = granted(await self._rpc.batch([view(self._network.terminal, "Terminal.providerOf", master)]))
        return present(decode_result("Terminal.providerOf", answer))

    async def has_provider_role(self, account: Address) -> bool:
        """Whether the Manager lists the account as a provider."""
        [answer] = granted(await self._rpc.batch([view(self._network.nexus, "Nexus.manager")]))
        manager: Address = decode_result("Nexus.manager", answer)
        [role] = granted(await self._rpc.batch([view(manager, "Manager.PROVIDER")]))
        identifier = decode_result("Manager.PROVIDER", role)
        [has] = granted(await self._rpc.batch([view(manager, "Manager.hasRole", identifier, account)]))
        return bool(decode_result("Manager.hasRole", has))
