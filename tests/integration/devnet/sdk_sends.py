"""Run as a program: the public SDK, unmodified, sends what it is told on stdin, one kind a line; says how that went.

Its chain and keys as in `sdk_client`, with which it shares them.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

from eth_account import Account
from ogpu.protocol import nexus, terminal, vault
from ogpu.protocol._base import TxExecutor, load_contract

from tests.integration.devnet.sdk_client import ADDRESSES, COIN, KEYS, publish_source, publish_task, start

made: dict[str, Any] = {}


def prepare() -> None:
    """What the sends are about; nothing fails yet."""
    terminal.announce_provider(ADDRESSES["PROVIDER"], 500 * COIN)
    terminal.announce_master(ADDRESSES["MASTER"])
    terminal.set_agent(ADDRESSES["AGENT"], True, signer=KEYS["MASTER"])
    vault.deposit(ADDRESSES["CLIENT"], 100 * COIN, signer=KEYS["CLIENT"])
    made["source"], made["manual"] = publish_source(1), publish_source(0)
    nexus.register(made["manual"].address, ADDRESSES["PROVIDER"], 1)
    made["unwanted"] = publish_task(made["manual"])


def submit_response() -> None:
    params = (made["task"].address, ADDRESSES["PROVIDER"], "http://results.example/1.json", COIN)
    signer = Account.from_key(KEYS["PROVIDER"])
    TxExecutor(load_contract("NexusAbi"), "submitResponse", (params,), signer=signer).execute()


SENDS: dict[str, Callable[[], object]] = {
    "deposit": lambda: vault.deposit(ADDRESSES["CLIENT"], COIN, signer=KEYS["CLIENT"]),
    "lock": lambda: vault.lock(COIN, signer=KEYS["CLIENT"]),
    "register": lambda: nexus.register(made["source"].address, ADDRESSES["PROVIDER"], 1),
    "publishTask": lambda: made.update(task=publish_task(made["source"])),
    "attempt": lambda: nexus.attempt(made["task"].address, ADDRESSES["PROVIDER"], COIN),
    "submitResponse": submit_response,
    "cancelTask": lambda: made["unwanted"].cancel(),
}


def main() -> None:
    start()
    prepare()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        try:
            SENDS[json.loads(line)]()
            said = "success"
        except Exception as error:
            said = type(error).__name__
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
