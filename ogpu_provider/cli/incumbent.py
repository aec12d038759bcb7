"""The key that another provider software keeps in the environment: handed on once, to be imported."""

from ogpu_provider.environment import Secret

_kept: list[Secret] = []


def keep(secret: Secret) -> None:
    _kept[:] = [secret]


def take() -> Secret | None:
    """The key, the first time."""
    return _kept.pop() if _kept else None
