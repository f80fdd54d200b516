"""How numbers are written in the report: with a true minus, no more digits than can be trusted, a dash for none.

What belongs together is held together by spaces at which no line breaks.
"""

import math

NONE = "–"
_HELD = "\u00a0"


def number(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """A number with fixed digits; a dash for None and NaN."""
    if value is None or not math.isfinite(value):
        return NONE
    rounded = round(value, digits) + 0.0  # no negative zero
    return f"{rounded:{'+' if signed else ''}.{digits}f}".replace("-", "−")


def interval(
    mean: float | None, low: float | None, high: float | None, digits: int = 3, *, signed: bool = False
) -> str:
    """A mean with its interval in brackets; alone where there is no interval."""
    if low is None or high is None:
        return number(mean, digits, signed=signed)
    return f"{number(mean, digits, signed=signed)}{_HELD}[{number(low, digits)},{_HELD}{number(high, digits)}]"


def percent(value: float | None, digits: int = 1, *, signed: bool = False) -> str:
    """A share, given from 0 to 1, in percent."""
    told = number(None if value is None else 100.0 * value, digits, signed=signed)
    return told if told == NONE else f"{told}{_HELD}%"


def p_value(value: float | None) -> str:
    """A p to two significant digits, not smaller than what is worth telling apart."""
    if value is None or not math.isfinite(value):
        return NONE
    if value < 0.0001:
        return f"<{_HELD}0.0001"
    return f"{value:.4f}" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def counted(count: int, one: str, many: str = "") -> str:
    """A number with its noun."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
