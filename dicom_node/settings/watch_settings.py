"""How the node watches itself, and where it shows how it is; from the tables `[watchdog]` and `[status]`."""

from dataclasses import dataclass, field

from dicom_node.settings.working_hours import WorkingHours


@dataclass(frozen=True, slots=True)
class StatusSettings:
    """Where the status page listens."""

    host: str = "127.0.0.1"
    port: int | None = None
    """None: there is no page."""


@dataclass(frozen=True, slots=True)
class SelfTestSettings:
    """When the node sends itself the digital thorax; from the table `[self_test]`."""

    every_h: float = 24.0
    """From one to the next; 0: only `perfnode selftest` does."""
    first_after_s: float = 900.0
    """One comes so long after each start: what waited for the start goes before."""
    answer_within_s: float = 3600.0
    """Without an answer for so long the node is too busy, which is no failure of the test."""
    destination: str = ""
    """Where its objects go; empty: nowhere."""


@dataclass(frozen=True, slots=True)
class WatchdogSettings:
    """What is looked at, and when the node gives up."""

    every_s: float = 30.0
    """From one look to the next."""
    failures: int = 3
    """So many looks in a row find that the node cannot serve: it ends, to be started anew."""
    oldest_job_h: float = 4.0
    """A job that waits longer is late."""
    quiet_h: float = 0.0
    """So many working hours without an image are worth an alert; 0: never."""
    hours: WorkingHours = field(default_factory=WorkingHours)

    @property
    def echo_timeout_s(self) -> float:
        """How long our own port may take to answer."""
        return max(2.0, min(10.0, self.every_s))
