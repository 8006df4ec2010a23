"""Passwords of the web page: scrypt hashes as one line of text, as they stand in the configuration."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

_N, _R, _P = 1 << 15, 8, 1  # 32 MiB and about 0.1 s: as OWASP advises for scrypt, with p = 1
_MEMORY_BYTES = 64 << 20


def hashed(password: str) -> str:
    """The text for `password_hash`: "scrypt:" salt ":" hash, both in base64."""
    salt = secrets.token_bytes(16)
    return f"scrypt:{_text(salt)}:{_text(_digest(password, salt))}"


def is_right(password: str, stored: str) -> bool:
    """Whether a password has the hash that `hashed` made."""
    _, salt, expected = stored.split(":")
    return hmac.compare_digest(_digest(password, base64.b64decode(salt)), base64.b64decode(expected))


def _digest(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(
        password.encode(errors="replace"), salt=salt, n=_N, r=_R, p=_P, maxmem=_MEMORY_BYTES, dklen=32
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
