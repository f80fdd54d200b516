"""Whether the node has nothing to do but for a model in shadow, and waiting until that is so."""

import threading
from collections.abc import Callable

_LOOK_S = 0.5


class Idle:
    """Asked again and again by whoever works only while nobody else does.

    Args:
        is_busy: whether a case waits for its turn or is being worked on, anywhere in the node.
    """

    def __init__(self, is_busy: Callable[[], bool]) -> None:
        self._is_busy = is_busy
        self._closed = threading.Event()

    def is_over(self) -> bool:
        """Whether there is something else to do, or the node stops; also where that cannot be found out."""
        try:
            return self._closed.is_set() or self._is_busy()
        except Exception:  # the database is away: nobody knows
            return True

    def wait(self, gives_up: Callable[[], bool]) -> bool:
        """Wait until there is nothing else to do; whether that came before `gives_up` said yes or the node stops."""
        while self.is_over():
            if gives_up() or self._closed.wait(_LOOK_S):
                return False
        return True

    def close(self) -> None:
        """Wait no longer: the node stops."""
        self._closed.set()
