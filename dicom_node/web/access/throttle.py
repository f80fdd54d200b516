"""How often somebody may try to sign in: few times for one name from one address, more often from one address.

What is counted belongs to an address, so that nobody can lock out a person who asks from another one. Tries are counted
before the password is looked at, so that many at the same moment are no way around.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from dicom_node.errors import SignInTooOften

WINDOW_S: Final = 300.0
TRIES_OF_NAME: Final = 5
"""For one name from one address within the window."""
TRIES_OF_ADDRESS: Final = 30
"""From one address, whatever the name."""
_MOST_KEYS: Final = 10_000


class SignInThrottle:
    """Counts tries that did not succeed; safe to use from several threads.

    Args:
        clock: monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._tries: dict[tuple[str, str], deque[float]] = {}
        self._told: dict[tuple[str, str], float] = {}

    def begin(self, name: str, address: str) -> None:
        """Count a try.

        Raises:
            SignInTooOften: there were too many; this one is not counted.
        """
        now = self._clock()
        with self._lock:
            self._forget(now)
            limits = {("", address): TRIES_OF_ADDRESS, _key(name, address): TRIES_OF_NAME}
            wait_s = max(self._wait_s(key, limit, now) for key, limit in limits.items())
            if wait_s > 0:
                raise SignInTooOften(wait_s)
            for key in (("", address), _key(name, address)):
                self._tries.setdefault(key, deque()).append(now)
            while len(self._tries) > _MOST_KEYS:
                del self._tries[next(iter(self._tries))]

    def succeeded(self, name: str, address: str) -> None:
        """The try that began last was a person's own: what they mistyped before is forgotten."""
        with self._lock:
            own = self._tries.pop(_key(name, address), deque())
            from_address = self._tries.get(("", address), deque())
            for tried_at in own:
                if tried_at in from_address:
                    from_address.remove(tried_at)

    def is_news(self, name: str, address: str) -> bool:
        """Whether a refusal for too many tries is the first one within a window, and worth an entry in the trail."""
        now, key = self._clock(), _key(name, address)
        with self._lock:
            if now - self._told.get(key, -WINDOW_S) < WINDOW_S:
                return False
            self._told[key] = now
            while len(self._told) > _MOST_KEYS:
                del self._told[next(iter(self._told))]
            return True

    def _wait_s(self, key: tuple[str, str], limit: int, now: float) -> float:
        tries = self._tries.get(key, deque())
        return WINDOW_S - (now - tries[-limit]) if len(tries) >= limit else 0.0

    def _forget(self, now: float) -> None:
        for key, tries in list(self._tries.items()):
            while tries and now - tries[0] >= WINDOW_S:
                tries.popleft()
            if not tries:
                del self._tries[key]


def _key(name: str, address: str) -> tuple[str, str]:
    return f"name {name.casefold()[:128]}", address
