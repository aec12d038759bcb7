"""Accounts at a registry of a test's own."""

import ctypes
import secrets

from ogpu_provider.runtime.registry import Login


def htpasswd(login: Login) -> str:
    """A file that the registry reads: bcrypt, made by the C library."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    hashed = library.crypt(login.password.encode(), b"$2b$04$" + secrets.token_hex(11).encode()).decode()
    return f"{login.user}:{hashed}\n"
