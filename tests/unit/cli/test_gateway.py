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


def test_a_model_has_an_id_that_a_path_can_have(shell: Shell) -> None:
    for name in ("", "a b", "a?b", "x" * 101):
        refused = shell("gateway", "models", "add", name, SOURCE, "multiply", "0.01")
        assert (refused.code, "usage.model" in refused.err) == (2, True)
    words = ("--environments", "cpu", "--auto-confirm", "--description", "by hand")
    assert shell("gateway", "models", "add", "meta/llama-3", SOURCE, "chat", "0.01", *words).code == 0
    [model] = json.loads(shell("gateway", "models", "list", "--json").out)
    assert (model["model_id"], model["auto_confirm"], model["environments"]) == ("meta/llama-3", True, ["cpu"])


def test_a_key_has_a_tier_and_scopes_that_there_are(shell: Shell) -> None:
    for words, wrong in ((("--tier", "gold"), "tier 'gold'"), (("--scopes", "tasks:all"), "scope 'tasks:all'")):
        refused = shell("gateway", "keys", "create", "me", *words)
        assert (refused.code, wrong in refused.err) == (2, True)
    assert shell("gateway", "keys", "create", "me", "--day-budget", "0.5", "--wallet", SOURCE).code == 0
    [key] = json.loads(shell("gateway", "keys", "list", "--json").out)
    assert (key["day_budget"], key["wallet"]) == ("0.5", SOURCE)


def test_a_key_is_shown_once_and_revoked_once(shell: Shell) -> None:
    made = json.loads(shell("gateway", "keys", "create", "me").out)
    listed = shell("gateway", "keys", "list", "--json").out
    assert made["id"] in listed
    assert made["key"] not in listed
    assert shell("gateway", "keys", "revoke", made["id"]).code == 0
    again = shell("gateway", "keys", "revoke", made["id"])
    assert again.code == 1
    assert "key.unknown" in again.err
