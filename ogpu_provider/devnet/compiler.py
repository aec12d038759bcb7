"""From contracts/*.sol to artifacts/*.json, byte for byte the same on every machine."""

import asyncio
import json
from pathlib import Path
from typing import Any

from ogpu_provider.devnet import tools
from ogpu_provider.domain.errors import DevnetError

FOLDER = Path(__file__).parent
CONTRACTS = ("Controller", "Manager", "Nexus", "Response", "Source", "Task", "Terminal", "Vault", "Wallet")

# paris: the newest instruction set that every EVM chain of the last years runs (no PUSH0)
SETTINGS: dict[str, Any] = {
    "evmVersion": "paris",
    "metadata": {"appendCBOR": False, "bytecodeHash": "none"},
    "optimizer": {"enabled": True, "runs": 200},
}

# soljson.js is the whole compiler; the package's JavaScript around it needs seven more packages and adds nothing
_DRIVER = """
const compiler = require(process.argv[1]);
const input = require('fs').readFileSync(0, 'utf8');
const compile = compiler.cwrap('solidity_compile', 'string', ['string', 'number', 'number']);
process.stdout.write(compile(input, 0, 0));
"""


async def compile_contracts(cache: Path | None = None) -> dict[str, str]:
    """Compiles every contract with the pinned compiler.

    Returns the text of each artifact by file name. Raises DevnetError with the compiler's message.
    """
    solc = await tools.ensure_solc(cache)
    sources = {path.name: {"content": path.read_text()} for path in sorted((FOLDER / "contracts").glob("*.sol"))}
    selection = {"*": {"*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"]}}
    settings = SETTINGS | {"outputSelection": selection}
    request = {"language": "Solidity", "sources": sources, "settings": settings}
    output = json.loads(await _node(solc, json.dumps(request)))
    errors = [entry["formattedMessage"] for entry in output.get("errors", ()) if entry["severity"] == "error"]
    if errors:
        raise DevnetError("\n".join(errors), code="devnet.compile")
    return {f"{name}.json": _artifact(name, output["contracts"][f"{name}.sol"][name]) for name in CONTRACTS}


def _artifact(name: str, compiled: dict[str, Any]) -> str:
    artifact = {
        "contractName": name,
        "abi": compiled["abi"],
        "bytecode": "0x" + compiled["evm"]["bytecode"]["object"],
        "deployedBytecode": "0x" + compiled["evm"]["deployedBytecode"]["object"],
        "compiler": {"version": tools.SOLC.version, "settings": SETTINGS},
    }
    return json.dumps(artifact, indent=1, sort_keys=True) + "\n"


async def _node(solc: Path, request: str) -> bytes:
    try:
        process = await asyncio.create_subprocess_exec(
            "node",
            *("--eval", _DRIVER, str(solc)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError as error:
        raise DevnetError("node is not installed", code="devnet.tool_missing", remedy="install Node.js") from error
    output, problems = await process.communicate(request.encode())
    if process.returncode != 0:
        raise DevnetError(f"the compiler failed: {problems.decode()[-500:]}", code="devnet.compile")
    return output
