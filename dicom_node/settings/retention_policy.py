"""`RetentionPolicy`: how long a site wants cases to be kept after they are finished."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """Table `[retention]` of the site file."""

    keep_days: float = 30.0
    """A case that is delivered, rejected or cancelled stays this long after its last attempt."""
    keep_failed_days: float = 0.0
    """The same for a case that failed, or whose notice could not be delivered; 0 keeps it until a person acts."""
    minimum_free_mb: float = 4096.0
    """With less free disk than this, the oldest cases that may go, go before their time."""
    keep_results_days: float = 3650.0
    """What is remembered of the results of a series, so that a later one refers to them; 0 remembers for good."""
