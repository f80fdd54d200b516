"""What was calibrated for a model as JSON of its bundle, with the number of the format; both kinds are read alike."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from inference.errors import InvalidModelCard

FORMAT = 1
T = TypeVar("T")


def numbered(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content with the number of the format."""
    return {"format": FORMAT, **content}


def decoded(document: Mapping[str, Any], what: str, make: Callable[[dict[str, Any]], T]) -> T:
    """What a document means.

    Args:
        document: JSON values.
        what: it is, for the error.
        make: makes it from the content without the number.

    Raises:
        InvalidModelCard: of another format, or `make` finds a field missing or impossible.
    """
    try:
        content = dict(document)
        if content.pop("format") != FORMAT:
            raise ValueError(f"this version reads format {FORMAT}")
        return make(content)
    except (ValueError, TypeError, KeyError, AttributeError) as fault:
        raise InvalidModelCard(f"{what}: {fault}") from fault
