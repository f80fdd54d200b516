"""What a host does: receive, work on cases, send results, show how it is."""

from enum import StrEnum


class Role(StrEnum):
    """One of the tasks that a host can take over; several hosts may have the same role."""

    RECEIVER = "receiver"
    """Takes instances into the spool of this host and makes cases of them."""
    WORKER = "worker"
    """Runs the stages of cases up to `check`."""
    SENDER = "sender"
    """Delivers results and asks whether they were kept."""
    WEB = "web"
    """Shows how the node is: metrics and health, of all hosts together."""


ALL_ROLES = frozenset(Role)
"""One box that does everything: the default."""
ENGINE_ROLES = frozenset({Role.WORKER, Role.SENDER})
"""Roles whose work is in the database, done by engine processes."""
