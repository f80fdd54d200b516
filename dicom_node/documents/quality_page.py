"""The tables of `docs/quality.md`: every check with what it measures, its limits and what it does."""

from collections.abc import Callable, Mapping
from math import inf

from dicom_node.documents.page import table
from inference.quality.table import CHECKS, Check, Range


def checks_table() -> str:
    """Every check that a site may judge otherwise."""
    rows = [
        (
            f"`{check.code}`",
            check.measures,
            check.unit,
            range_words(check.usual),
            check.severity,
            range_words(check.possible),
            check.source,
        )
        for check in CHECKS.values()
        if not check.fixed
    ]
    heads = (
        "code",
        "what is measured",
        "unit (UCUM)",
        "usual",
        "outside usual",
        "possible, else reject",
        "limits from",
    )
    return table(heads, rows)


def fixed_table() -> str:
    """Every check that nobody may turn off."""
    rows = [
        (f"`{check.code}`", check.measures, check.unit, _promise(check)) for check in CHECKS.values() if check.fixed
    ]
    return table(("code", "what is measured", "unit (UCUM)", "must be"), rows)


def range_words(limits: Range) -> str:
    """A range as people read it."""
    low, high = limits
    if low == high == inf:
        return "never"
    if low == -inf:
        return "anything" if high == inf else f"up to {high:g}"
    return f"from {low:g}" if high == inf else f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _promise(check: Check) -> str:
    return "above 0" if check.code == "MAP_NOT_POSITIVE" else range_words(check.usual)


TABLES: Mapping[str, Callable[[], str]] = {"checks": checks_table, "fixed-checks": fixed_table}
