"""A bare host: a folder, keys of a provider and of a master that nobody knows yet, and `ogpu-provider` on it."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_utils.crypto import keccak

from ogpu_provider.devnet.accounts import Account as Known
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.devnet.network import LocalNetwork
from ogpu_provider.devnet.transactions import read, send, transact
from ogpu_provider.domain.units import COIN
from ogpu_provider.keys import keystore
from tests.integration.onboarding.nursery import Child, Nursery
from tests.integration.onboarding.person import Person

SIGN = Path(__file__).with_name("sign.py")
TOPICS = {
    "0x" + keccak(text=text).hex(): text.partition("(")[0]
    for text in (
        "MasterAnnounced(address,address)",
        "ProviderAnnounced(address,address)",
        "Registered(address,uint256,address,uint8)",
        "Locked(address,uint256)",
        "Deposited(address,uint256)",
    )
}


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@dataclass
class Run:
    """A command that runs, with its standard output and error."""

    child: Child
    out: asyncio.StreamReader
    err: asyncio.StreamReader

    async def ended(self) -> Done:
        out, err = await asyncio.gather(self.out.read(), self.err.read())
        return Done(await asyncio.to_thread(self.child.wait), out.decode(), err.decode())


def fresh() -> Known:
    key = "0x" + secrets.token_hex(32)
    return Known(str(Account.from_key(key).address), key)


@dataclass
class BareHost:
    folder: Path
    network: LocalNetwork
    nursery: Nursery
    provider: Known = field(default_factory=fresh)
    master: Known = field(default_factory=fresh)

    async def another(self, name: str, **changes: Known) -> "BareHost":
        """Beside this one, with keys of its own unless told otherwise."""
        made = BareHost(self.folder.with_name(f"{self.folder.name}-{name}"), self.network, self.nursery, **changes)
        await made.prepare()
        return made

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    async def prepare(self, *, provider: int = COIN, master: int = 1000 * COIN) -> None:
        """Coin in wei; a settings file with a comment of the operator's."""
        self.folder.mkdir(exist_ok=True)
        self.config.write_text(
            f'# mine\ndata_dir = "{self.folder}/data"\n\n[admission]\nmin_payment = "0.001"  # low\n'
        )
        for name, text in (("key", self.provider.private_key), ("master", self.master.private_key), ("word", "horse")):
            self.file(name, text)
        await self.fund(self.provider.address, provider)
        await self.fund(self.master.address, master)

    def file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text + "\n")
        path.chmod(0o600)
        return path

    async def fund(self, account: str, wei: int) -> None:
        async with JsonRpc(self.network.node.rpc_url) as rpc:
            await rpc.call("anvil_setBalance", account, hex(wei))

    def flags(self, *more: str, pull: bool = False) -> tuple[str, ...]:
        """Everything that a script says, but for what is done in the end."""
        made = self.network.describe()
        words = {
            "--network": "devnet",
            "--rpc-url": made["rpc_url"],
            "--publish-url": made["pin_url"] + "/file/create",
            "--gateway-url": made["gateway_url"],
            "--key": "hex",
            "--key-file": str(self.folder / "key"),
            "--password-file": str(self.folder / "word"),
            "--master": self.master.address,
            "--wait": "30",
            "--config": str(self.config),
        }
        flat = [word for pair in words.items() if pair[0] not in more for word in pair]
        images = () if pull else ("--leave-images",)
        return ("register", "--yes", "--skip-host-check", *images, *flat, *more)

    async def run(self, *words: str, **how: Any) -> Done:
        return await (await self.start(*words, **how)).ended()

    async def start(self, *words: str, **how: Any) -> "Run":
        """`how`: see `Nursery.start`."""
        pipes = [os.pipe(), os.pipe()]
        null = os.open(os.devnull, os.O_RDWR)
        try:
            child = await asyncio.to_thread(self.nursery.start, words, (null, pipes[0][1], pipes[1][1]), **how)
        finally:
            for descriptor in (null, pipes[0][1], pipes[1][1]):
                os.close(descriptor)
        return Run(child, *[await _reader(descriptor) for descriptor, _ in pipes])

    async def at_terminal(self, person: Person, *words: str, **how: Any) -> int:
        return await asyncio.to_thread(person.run, self.nursery, words, **how)

    async def reseal(self, password: str) -> None:
        """The same key under the same password, in a keystore that is cheap to open: many runs open it."""
        path = self.folder / "data" / "keystore.json"
        key = await keystore.unlock(path, password)
        assert key.address == self.provider.address
        path.unlink()
        await keystore.import_key(path, self.provider.private_key, password, rounds=4096)

    async def masters_keystore(self) -> tuple[str, ...]:
        """Flags with the master's key as a wallet exports it; for people who have it at hand."""
        path = self.folder / "master.json"
        if not path.exists():
            await keystore.import_key(path, self.master.private_key, "horse", rounds=4096)
        return "--master-keystore", str(path), "--master-password-file", str(self.folder / "word")

    async def sign(self, printed: str, key: str = "master") -> str:
        return await asyncio.to_thread(self.sign_now, printed, key)

    def sign_now(self, printed: str, key: str = "master") -> str:
        """The master's machine, given exactly what was printed; the transaction's hash."""
        command = [sys.executable, str(SIGN), self.network.node.rpc_url, str(self.folder / key)]
        text = printed.replace("\r", "")
        return subprocess.run(command, input=text, text=True, stdout=subprocess.PIPE, check=True).stdout.strip()

    async def signed_by_master(self, *words: str, **how: Any) -> Done:
        """A run in which the master signs what is printed, as soon as it is."""
        run = await self.start(*words, **how)
        printed = await until_printed(run.out, "  link")
        await self.sign(printed)
        done = await run.ended()
        return Done(done.code, printed + done.out, done.err)

    async def announce(self, *, provider: str = "", value: int = 100 * COIN, by: Known | None = None) -> None:
        async with JsonRpc(self.network.node.rpc_url) as rpc:
            terminal = self.network.deployment.terminal
            whom = provider or self.provider.address
            await transact(rpc, by or self.master, terminal, "Terminal", "announceProvider", whom, value, value=value)

    async def ask(self, contract: str, function: str, *arguments: Any) -> Any:
        async with JsonRpc(self.network.node.rpc_url) as rpc:
            at = getattr(self.network.deployment, contract.lower(), contract)
            return await read(rpc, at, contract, function, *arguments)

    async def act(self, who: Known, contract: str, function: str, *arguments: Any, value: int = 0) -> None:
        async with JsonRpc(self.network.node.rpc_url) as rpc:
            at = getattr(self.network.deployment, contract.lower())
            await transact(rpc, who, at, contract, function, *arguments, value=value)

    async def pay(self, who: Known, to: str, value: int) -> None:
        async with JsonRpc(self.network.node.rpc_url) as rpc:
            await send(rpc, who, to, b"", value)

    async def said(self) -> Counter[str]:
        """How often each event of the protocol concerned this provider, from the chain's logs alone."""
        async with JsonRpc(self.network.node.rpc_url) as rpc:
            logs = await rpc.call("eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest", "topics": [sorted(TOPICS)]})
        word = self.provider.address[2:].lower().rjust(64, "0")
        return Counter(TOPICS[log["topics"][0]] for log in logs if word in log["data"])

    async def later(self, seconds: int) -> None:
        """Move the node's clock."""
        async with JsonRpc(self.network.node.rpc_url) as rpc:
            await rpc.call("evm_increaseTime", seconds)
            await rpc.call("evm_mine")

    async def coin(self) -> int:
        async with JsonRpc(self.network.node.rpc_url) as rpc:
            return int(await rpc.call("eth_getBalance", self.provider.address, "latest"), 16)

    async def nonce(self, account: str = "") -> int:
        async with JsonRpc(self.network.node.rpc_url) as rpc:
            return int(await rpc.call("eth_getTransactionCount", account or self.provider.address, "latest"), 16)


async def until_printed(stream: asyncio.StreamReader, mark: str, timeout: float = 180.0) -> str:
    text = ""
    async with asyncio.timeout(timeout):
        while mark not in text:
            line = await stream.readline()
            assert line, text
            text += line.decode()
    return text


async def _reader(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(descriptor, "rb", 0))
    return reader


async def shell(words: str) -> Done:
    """`ogpu-provider` as typed in a shell, with redirections and pipes."""
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", f"{sys.executable} -m ogpu_provider.cli.main {words}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())
