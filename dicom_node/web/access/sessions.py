"""Sessions: who is signed in at which browser, for how long, kept in the memory of the page's process.

The browser holds a random key, the page only its hash; so nothing that the page could leak lets anybody in. When the
page's process starts anew, everybody signs in anew.
"""

import hmac
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from dicom_node.web.access.rights import PageRole

_MOST: Final = 1000
"""Sessions at the same time; the one that was used the longest ago ends first."""


@dataclass(slots=True)
class Session:
    """One sign-in of one person at one browser."""

    name: str
    role: PageRole
    mark: str
    """Of the account, or of what a directory said of the person, when they signed in."""
    started_s: float
    """Monotonic time."""
    used_s: float
    """When the person last did something; monotonic time."""
    number: str = field(default_factory=lambda: secrets.token_hex(4))
    """Tells it apart in the audit trail; no secret."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long a session lasts."""

    idle_s: float
    whole_s: float


class Sessions:
    """All sessions; safe to use from several threads.

    Args:
        limits: how long they last.
        clock: monotonic time in seconds.
    """

    def __init__(self, limits: SessionLimits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._by_hash: dict[str, Session] = {}
        self._secret = secrets.token_bytes(32)

    def begin(self, name: str, role: PageRole, mark: str) -> str:
        """Begin a session; the key that the browser shall hold."""
        key, now = secrets.token_urlsafe(32), self._clock()
        with self._lock:
            self._forget_expired(now)
            while len(self._by_hash) >= _MOST:
                del self._by_hash[min(self._by_hash, key=lambda hashed: self._by_hash[hashed].used_s)]
            self._by_hash[_hash(key)] = Session(name, role, mark, now, now)
        return key

    def find(self, key: str, *, is_use: bool) -> Session | None:
        """The session of a key that has not expired.

        Args:
            key: what the browser says.
            is_use: whether the person does something now; what a page asks for by itself keeps no session alive.
        """
        now = self._clock()
        with self._lock:
            session = self._by_hash.get(_hash(key))
            if session is None or self._is_over(session, now):
                self._by_hash.pop(_hash(key), None)
                return None
            if is_use:
                session.used_s = now
            return session

    def end(self, key: str) -> None:
        """End the session of a key."""
        with self._lock:
            self._by_hash.pop(_hash(key), None)

    def token(self, key: str) -> str:
        """The token that forms carry for whoever holds this key, of a session or of a sign-in."""
        return hmac.new(self._secret, key.encode(), sha256).hexdigest()

    def is_token(self, token: str, key: str) -> bool:
        """Whether a form carries the token of this key."""
        return hmac.compare_digest(token.encode(), self.token(key).encode())

    def _forget_expired(self, now: float) -> None:
        for hashed in [hashed for hashed, session in self._by_hash.items() if self._is_over(session, now)]:
            del self._by_hash[hashed]

    def _is_over(self, session: Session, now: float) -> bool:
        return now - session.used_s >= self._limits.idle_s or now - session.started_s >= self._limits.whole_s


def _hash(key: str) -> str:
    return sha256(key.encode()).hexdigest()
