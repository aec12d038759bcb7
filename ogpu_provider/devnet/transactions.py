"""Reads and transactions that set the contracts up and exercise them, signed by the local network's accounts."""

from typing import Any

from ogpu_provider.devnet.abi import artifact
from ogpu_provider.devnet.accounts import Account
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.domain.errors import DevnetError

_TIP = 10**9


async def read(rpc: JsonRpc, address: str, contract: str, function: str, *args: Any) -> Any:
    """A view function's answer at the latest block. Raises DevnetError `devnet.reverted`."""
    data = artifact(contract).encode(function, *args)
    answer = await rpc.call("eth_call", {"to": address, "data": "0x" + data.hex()}, "latest")
    return artifact(contract).decode(function, bytes.fromhex(answer[2:]))


async def send(rpc: JsonRpc, account: Account, to: str | None, data: bytes, value: int = 0) -> dict[str, Any]:
    """Sends a transaction, mines a block at once and returns the receipt.

    Raises DevnetError `devnet.reverted`, with the contract's reason, before anything is sent.
    """
    from eth_account import Account as EthAccount

    call = {"from": account.address, "data": "0x" + data.hex(), "value": hex(value)}
    if to is not None:
        call["to"] = to
    gas = int(await rpc.call("eth_estimateGas", call), 16)
    base_fee = int((await rpc.call("eth_getBlockByNumber", "latest", False))["baseFeePerGas"], 16)
    transaction: dict[str, Any] = {
        "type": 2,
        "chainId": int(await rpc.call("eth_chainId"), 16),
        "nonce": int(await rpc.call("eth_getTransactionCount", account.address, "pending"), 16),
        "gas": gas * 3 // 2,
        "maxFeePerGas": 2 * base_fee + _TIP,
        "maxPriorityFeePerGas": _TIP,
        "value": value,
        "data": call["data"],
    }
    if to is not None:
        transaction["to"] = to
    signed = EthAccount.sign_transaction(transaction, account.private_key)
    digest = await rpc.call("eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex())
    await rpc.call("evm_mine")
    receipt: dict[str, Any] | None = await rpc.call("eth_getTransactionReceipt", digest)
    if receipt is None or receipt["status"] != "0x1":
        raise DevnetError(f"transaction {digest} failed in its block", code="devnet.reverted")
    return receipt


async def transact(
    rpc: JsonRpc, account: Account, address: str, contract: str, function: str, *args: Any, value: int = 0
) -> dict[str, Any]:
    """Calls a contract's function in a transaction; see `send`. Amounts are wei."""
    return await send(rpc, account, address, artifact(contract).encode(function, *args), value)
