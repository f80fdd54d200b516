"""`RetryPolicy`: how often and how long a site wants a delivery to be tried."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Table `[work]` of the site file, as far as destinations are concerned."""

    delays_s: tuple[float, ...] = (10.0, 60.0, 300.0, 900.0, 3600.0)
    """Waits between attempts; the last one repeats. A peer that answers with failures is tried once more than this."""
    give_up_after_s: float = 72 * 3600.0
    """A peer that cannot be reached, or does not confirm, is tried for this long: a weekend and a day."""
    rounds: int = 3
    """How often instances that a destination does not have are sent again."""
