import pickle

import pytest

from ogpu_provider.environment import Secret, debug, take_incumbent_key


def test_the_incumbents_key_is_removed_from_the_environment() -> None:
    environ = {"PROVIDER_PRIVATE_KEY": "0x" + "11" * 32, "PATH": "/bin"}
    key = take_incumbent_key(environ)
    assert key is not None
    assert key.reveal() == "0x" + "11" * 32
    assert environ == {"PATH": "/bin"}
    assert take_incumbent_key(environ) is None


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret("hunter2hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {[secret]}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        vars(secret)


def test_debug_is_off_unless_asked_for() -> None:
    assert not debug({})
    assert not debug({"OGPU_PROVIDER_DEBUG": "0"})
    assert debug({"OGPU_PROVIDER_DEBUG": "1"})
