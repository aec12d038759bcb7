"""The official SDK as an independent client, in a process of its own: it is synchronous and process-global.

Run as `python -m ogpu_provider.devnet.sdk_process`; reads one JSON object a line, `{"do": verb, ...}`, answers
with one line `{"ok": result}` or `{"error": text}`. The first line must be `setup`. Amounts in wei, times in
unix seconds. `Client` in `sdk.py` is the other end.
"""

import json
import sys
from collections.abc import Callable
from typing import Any


def setup(rpc_url: str, publish_url: str, private_key: str) -> str:
    """Point the SDK at the local network. Only its own knobs are turned; its code is not changed."""
    import ogpu.ipfs.publish
    from eth_account import Account
    from ogpu import ChainConfig, ChainId

    ChainConfig.set_chain(ChainId.OGPU_TESTNET)
    ChainConfig.set_rpc(rpc_url)
    ogpu.ipfs.publish._IPFS_PUBLISH_URL = publish_url
    global _signer
    _signer = Account.from_key(private_key)
    return str(_signer.address)


def publish_source(
    name: str,
    description: str,
    compose: dict[str, str],
    min_payment: int,
    min_lockup: int,
    max_expiry: int,
    delivery: int,
) -> str:
    from ogpu.client import DeliveryMethod, ImageEnvironments, SourceInfo
    from ogpu.client import publish_source as publish

    info = SourceInfo(
        name=name,
        description=description,
        logoUrl="",
        imageEnvs=ImageEnvironments(**compose),
        minPayment=min_payment,
        minAvailableLockup=min_lockup,
        maxExpiryDuration=max_expiry,
        deliveryMethod=DeliveryMethod(delivery),
    )
    return str(publish(info, _signer).address)


def publish_task(source: str, function: str, data: Any, expiry: int, payment: int) -> str:
    from ogpu.client import TaskInfo, TaskInput
    from ogpu.client import publish_task as publish

    config = TaskInput(function_name=function, data=data)
    info = TaskInfo(source=source, config=config, expiryTime=expiry, payment=payment)
    return str(publish(info, _signer).address)


def task(address: str) -> dict[str, Any]:
    """Status name, confirmed response's address, link and payload, winner."""
    from ogpu.client import Task

    chosen = Task(address)
    status = chosen.get_status()
    answer: dict[str, Any] = {"status": status.name, "response": None, "winner": None}
    responses = chosen.get_responses()
    if responses:
        answer["responses"] = [r.address for r in responses]
    if status.name == "FINALIZED":
        confirmed = chosen.get_confirmed_response()
        if confirmed is not None:
            answer |= {
                "response": confirmed.address,
                "data": confirmed.get_data(),
                "payload": confirmed.fetch_data(),
                "winner": chosen.get_winning_provider(),
            }
    return answer


def confirm(response: str) -> str:
    from ogpu.client import confirm_response

    return str(confirm_response(response, _signer))


def cancel(task: str) -> str:
    from ogpu.client import cancel_task

    return str(cancel_task(task, _signer).tx_hash)


def vault(address: str) -> dict[str, int]:
    from ogpu.protocol import vault as protocol

    return {
        "balance": protocol.get_balance_of(address),
        "earnings": protocol.get_total_earnings_of(address),
        "frozen": protocol.get_frozen_payment(address),
    }


_signer: Any = None
VERBS: dict[str, Callable[..., Any]] = {
    verb.__name__: verb for verb in (setup, publish_source, publish_task, task, confirm, cancel, vault)
}


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"ok": VERBS[request.pop("do")](**request)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
