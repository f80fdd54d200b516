"""Passwords of people: what is asked of them, and their Argon2id hashes.

The only rule is a length (NIST SP 800-63B 3.1.1.2 asks for no classes of characters). Hashing costs memory on purpose,
so that only one password is hashed at a time in a process, however many people try to sign in.
"""

import threading
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from dicom_node.errors import AccountRefused

SHORTEST: Final = 12
LONGEST: Final = 256
_hasher: Final = PasswordHasher()
_one_at_a_time: Final = threading.Lock()


def hash_of(password: str) -> str:
    """What is kept of a password.

    Raises:
        AccountRefused: it is too short or too long.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise AccountRefused(f"a password has {SHORTEST} to {LONGEST} characters")
    with _one_at_a_time:
        return _hasher.hash(password)


def fits(password: str, kept: str | None) -> bool:
    """Whether it is the password; without one that is kept, the same work is done for nothing.

    Args:
        password: what somebody says.
        kept: hash of the password; None for a name that nobody has, whose answer must take as long as any other.
    """
    if len(password) > LONGEST:
        password, kept = "", None
    with _one_at_a_time:
        nobodys = _nobodys()
        try:
            is_right = _hasher.verify(kept or nobodys, password)
        except (VerificationError, InvalidHashError):
            return False
    return is_right and kept is not None


@cache
def _nobodys() -> str:
    return _hasher.hash("of nobody, for the time that it takes")
