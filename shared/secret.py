"""Random secrets that are shown once: how they are made, and what is kept of them."""

import hashlib
import secrets


def new_secret(prefix: str) -> tuple[str, str]:
    """(its public name, the secret itself, which begins with the prefix and that name): 256 random bits."""
    identifier = secrets.token_hex(4)
    return identifier, f"{prefix}_{identifier}_{secrets.token_urlsafe(32)}"


def digest(secret: str) -> str:
    """What is kept of a secret that has 256 random bits: nobody finds it from this."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
