import json

from tests.unit.cli.conftest import Shell

SOURCE = "0x" + "11" * 20


def test_a_model_is_added_shown_and_removed_once(shell: Shell) -> None:
    assert shell("gateway", "models", "add", "multiply", SOURCE, "multiply", "0.01").code == 0
    [model] = json.loads(shell("gateway", "models", "list", "--json").out)
    assert (model["model_id"], model["price"]) == ("multiply", "0.01")
    assert shell("gateway", "models", "remove", "multiply").code == 0
    again = shell("gateway", "models", "remove", "multiply")
    assert again.code == 1
    assert "model.unknown" in again.err


def test_a_key_is_shown_once_and_revoked_once(shell: Shell) -> None:
    made = json.loads(shell("gateway", "keys", "create", "me").out)
    listed = shell("gateway", "keys", "list", "--json").out
    assert made["id"] in listed
    assert made["key"] not in listed
    assert shell("gateway", "keys", "revoke", made["id"]).code == 0
    again = shell("gateway", "keys", "revoke", made["id"])
    assert again.code == 1
    assert "key.unknown" in again.err
