"""Passwords: which may be chosen, and whether one is right. Argon2id, by argon2-cffi."""

import secrets
import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST, LONGEST, KINDS = 10, 128, 5


class PasswordError(ValueError):
    """A password that may not be chosen; the message is one line."""


def require_usable(password: str, name: str) -> None:
    """Raises PasswordError."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise PasswordError(f"密码应为 {SHORTEST}–{LONGEST} 个字符")
    if len(name) > 2 and name in password.lower():
        raise PasswordError("密码里不能有账号名")
    if len(set(password)) < KINDS:
        raise PasswordError(f"密码里至少要有 {KINDS} 个不同的字符")


def generate() -> str:
    """One that nobody guesses, and that can be typed: groups of letters and digits that are not mistaken for each other."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(5)) for _ in range(4))


class Passwords:
    """Hashes, and compares. Each call takes some hundredths of a second and 64 MiB: never within a transaction."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()

    def hash(self, password: str) -> str:
        return self._hasher.hash(_bytes(password))

    def matches(self, kept: str | None, password: str) -> bool:
        """Whether it is the password of this hash; of none it never is, which takes as long to find out."""
        nobodys = _nobodys(self._hasher)  # made by the first attempt, whoever is asked for
        try:
            return self._hasher.verify(kept or nobodys, _bytes(password)) and kept is not None
        except (VerificationError, InvalidHashError):
            return False

    def outdated(self, kept: str) -> bool:
        """Whether it was hashed with other parameters than those in use now."""
        return self._hasher.check_needs_rehash(kept)


@cache
def _nobodys(hasher: PasswordHasher) -> str:
    return hasher.hash(secrets.token_bytes(32))


def _bytes(password: str) -> bytes:
    """The same whichever way a keyboard composes its characters."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
