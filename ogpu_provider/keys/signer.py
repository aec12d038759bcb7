"""The only object that can sign. It is asked for intents, never for bytes, and gives no way to its key."""

from typing import Never, Protocol, Self

from coincurve import PrivateKey
from eth_account import Account
from eth_account.signers.local import LocalAccount

from ogpu_provider.domain.errors import KeyRefused
from ogpu_provider.domain.intent import Intent, SignedTx
from ogpu_provider.domain.units import Address, Hash, Wei
from ogpu_provider.keys.policy import Decoded, TxRequest, address_bytes
from ogpu_provider.keys.tally import Tally
from ogpu_provider.keys.transaction import signed


class SecretKey:
    """A private key that cannot be printed, copied or pickled. Its address is public."""

    __slots__ = ("__account", "__key")

    def __init__(self, account: LocalAccount) -> None:
        self.__account = account
        self.__key = PrivateKey(bytes(account.key))

    @classmethod
    def from_hex(cls, key: str) -> Self:
        """Raises KeyRefused key.malformed; the message does not repeat what was given."""
        try:
            raw = bytes.fromhex(key.strip().removeprefix("0x"))
            if len(raw) != 32:
                raise ValueError
            account = Account.from_key(raw)
        except Exception:
            raise KeyRefused(
                "not a private key: 64 hex digits are expected", code="key.malformed", remedy="copy it again, whole"
            ) from None
        return cls(account)

    @classmethod
    def from_mnemonic(cls, words: str, index: int = 0) -> Self:
        """Account `index` of a BIP-39 phrase, as wallets count them. Raises KeyRefused key.malformed."""
        from eth_account.hdaccount import key_from_seed, seed_from_mnemonic

        try:
            seed = seed_from_mnemonic(" ".join(words.split()), "")
            account = Account.from_key(key_from_seed(seed, f"m/44'/60'/0'/0/{index}"))
        except Exception:
            raise KeyRefused(
                "not a recovery phrase: a word is wrong, missing or in another place",
                code="key.malformed",
                remedy="copy it again, 12 to 24 words in their order",
            ) from None
        return cls(account)

    @property
    def address(self) -> Address:
        return Address(self.__account.address)

    def sign(self, request: TxRequest) -> tuple[Hash, bytes]:
        """Hash and raw bytes of the signed transaction; for the signer behind its policy."""
        tx_hash, raw = signed(request, self.__key)
        return Hash("0x" + tx_hash.hex()), raw

    def encrypted(self, password: str, rounds: int) -> dict[str, object]:
        """The key as a V3 keystore with scrypt of `rounds`."""
        sealed: dict[str, object] = self.__account.encrypt(password, kdf="scrypt", iterations=rounds)
        return sealed

    def __repr__(self) -> str:
        return f"SecretKey({self.address})"

    def __reduce_ex__(self, protocol: object) -> Never:
        raise TypeError("a key is not copied or pickled")


class Rules(Protocol):
    """A policy: the chain and the account that it is for, and what that account may sign."""

    @property
    def chain_id(self) -> int: ...

    @property
    def account(self) -> Address: ...

    def check(self, request: TxRequest) -> Decoded:
        """What the request does. Raises KeyRefused key.policy unless every rule allows it."""
        ...


class Signer:
    """Signs what the policy allows for `policy.account`, which must be the key's own address.

    `day_cap`: wei of gas that it signs for within 24 hours, each nonce counted with the most that it may cost; None
    for no limit. Raises KeyRefused key.mismatch if the key is another account's.
    """

    __slots__ = ("__key", "_policy", "_tally")

    def __init__(self, key: SecretKey, policy: Rules, *, day_cap: Wei | None = None) -> None:
        if address_bytes(key.address) != address_bytes(policy.account):
            raise KeyRefused(
                f"the key is for {key.address}, the settings for {policy.account}",
                code="key.mismatch",
                remedy="use the keystore of the configured account",
            )
        self.__key = key
        self._policy = policy
        self._tally = Tally(day_cap)

    @property
    def address(self) -> Address:
        return self.__key.address

    async def sign(
        self, intent: Intent, *, nonce: int, gas: int, max_fee: Wei, tip_fee: Wei | None, at: float
    ) -> SignedTx:
        """Sign an intent at `nonce`. Fees in wei per gas; `tip_fee` None makes a legacy transaction.

        Raises KeyRefused key.policy if the policy, the day's cap, or the intent's own words about its calldata do not
        allow it.
        """
        request = TxRequest(
            chain_id=self._policy.chain_id,
            to=intent.to,
            data=intent.data,
            value=intent.value,
            nonce=nonce,
            gas=gas,
            max_fee=max_fee,
            tip_fee=tip_fee,
        )
        decoded = self._policy.check(request)
        wrong_subject = decoded.subject is not None and decoded.subject != address_bytes(intent.subject)
        if decoded.effect is not intent.effect or wrong_subject:
            raise KeyRefused(f"the signer refuses: {intent.key} is not what its calldata does", code="key.policy")
        self._tally.admit(nonce, gas * max_fee, at)
        tx_hash, raw = self.__key.sign(request)
        return SignedTx(tx_hash, intent.key, nonce, raw, gas, max_fee, tip_fee, at)

    def __repr__(self) -> str:
        return f"Signer({self.address})"

    def __reduce_ex__(self, protocol: object) -> Never:
        raise TypeError("a signer is not copied or pickled")
