"""Everything that can go wrong, as one tree.

    ProviderError
    ├── ConfigError          config.*     a setting or a file of the operator
    ├── ChainError           chain.*      the RPC endpoint or the chain behind it
    │   ├── RpcUnavailable                no answer: ask again, outcome unknown
    │   ├── RpcRejected                   an answer that says no
    │   ├── WrongNetwork                  another chain id, or no contract where ours should be
    │   └── ForeignNonce                  somebody else sends with the provider key
    ├── KeyRefused           key.*        keystore, password, or the signer's policy
    ├── FetchError           fetch.*      a URL that somebody else chose
    ├── PinError             pin.*        publishing a result
    ├── ComposeRefused       compose.*    an author's compose file; carries the violations
    ├── EngineError          engine.*     container engine, images, projects
    ├── DispatchError        dispatch.*   a source container's HTTP answer
    ├── StoreError           store.*      the database
    │   ├── StaleRow                      somebody else moved the task first
    │   └── KnownIntent                   what was signed for the first time is planned already
    ├── ControlError         control.*    the socket between the commands and the daemon
    │   └── ControlRefused                the daemon said no, with its own code
    ├── GatewayError         gateway.*    the Tasks API's own processes
    └── DevnetError          devnet.*     the local network

`code` is stable: scripts, metrics and tests use it. `retry` is the only thing a caller decides on; message
text is for people. Library exceptions are translated into this tree once, at the boundary of their adapter.
"""

from enum import StrEnum
from typing import ClassVar


class Retry(StrEnum):
    """What a caller may do about an error."""

    NOW = "now"  # transient, the same call may work at once
    LATER = "later"  # transient, after a pause
    NEVER = "never"  # the same call fails again


class ProviderError(Exception):
    """Base of the tree. `remedy` says what a person can do about it."""

    default_code: ClassVar[str] = "internal"
    default_retry: ClassVar[Retry] = Retry.NEVER

    def __init__(self, message: str, *, code: str | None = None, retry: Retry | None = None, remedy: str = "") -> None:
        super().__init__(message)
        self.code = code or self.default_code
        self.retry = retry or self.default_retry
        self.remedy = remedy


class ConfigError(ProviderError):
    default_code = "config.invalid"


class ChainError(ProviderError):
    default_code = "chain.error"
    default_retry = Retry.LATER


class RpcUnavailable(ChainError):
    default_code = "chain.unavailable"


class RpcRejected(ChainError):
    default_code = "chain.rejected"
    default_retry = Retry.NEVER


class WrongNetwork(ChainError):
    default_code = "chain.wrong_network"
    default_retry = Retry.NEVER


class ForeignNonce(ChainError):
    default_code = "chain.foreign_nonce"
    default_retry = Retry.NEVER


class KeyRefused(ProviderError):
    default_code = "key.refused"


class FetchError(ProviderError):
    """`status`: of the HTTP answer that was no 200, else 0; `challenge`: what it asks for (WWW-Authenticate)."""

    status = 0
    challenge = ""
    default_code = "fetch.failed"
    default_retry = Retry.LATER


class PinError(ProviderError):
    default_code = "pin.failed"
    default_retry = Retry.LATER


class ComposeRefused(ProviderError):
    default_code = "compose.refused"


class EngineError(ProviderError):
    default_code = "engine.failed"
    default_retry = Retry.LATER


class DispatchError(ProviderError):
    default_code = "dispatch.failed"
    default_retry = Retry.LATER


class StoreError(ProviderError):
    default_code = "store.failed"


class StaleRow(StoreError):
    default_code = "store.stale"
    default_retry = Retry.NOW


class KnownIntent(StoreError):
    default_code = "store.known_intent"


class ControlError(ProviderError):
    default_code = "control.failed"


class ControlRefused(ControlError):
    default_code = "control.refused"


class GatewayError(ProviderError):
    default_code = "gateway.failed"


class DevnetError(ProviderError):
    default_code = "devnet.failed"
