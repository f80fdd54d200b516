"""What the service manager is told: ready, alive, stopping (systemd's protocol, sd_notify(3)).

A datagram to the socket that the environment names; without one, as outside systemd, nothing. No library: the one on
the package index that wraps these lines has not been released since 2017.
"""

import os
import socket
from contextlib import suppress

READY = "READY=1"
STOPPING = "STOPPING=1"
ALIVE = "WATCHDOG=1"


def notify(*lines: str) -> None:
    """Tell the service manager; nobody is told where there is none, and a fault is no reason to stop."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as way:
        way.settimeout(1.0)
        way.sendto("\n".join(lines).encode(), f"\0{address[1:]}" if address[0] == "@" else address)


def status(sentence: str) -> str:
    """The line that `systemctl status` shows."""
    return "STATUS=" + sentence.replace("\n", " ")


def watchdog_s() -> float | None:
    """Within this time the service manager must hear `ALIVE`, or it kills us; None: it does not wait for that."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = os.environ.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isdigit() and int(text) > 0 else None
