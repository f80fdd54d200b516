"""How times, spans, sizes and numbers are written."""

from datetime import UTC, datetime

import pytest

from dicom_node.web.case.wording import SEVERITIES, clock, figure, size, span
from inference.quality.findings import Severity


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (59.96, "60.0 s"),
        (60.0, "1 min"),
        (61.9, "1 min 1 s"),
        (3600.0, "1 h"),
        (5400.0, "1 h 30 min"),
        (172800.0, "2 days"),
    ],
)
def test_a_span_has_two_units_at_most(seconds: float, words: str) -> None:
    assert span(seconds) == words


@pytest.mark.parametrize(("number", "words"), [(999, "999 bytes"), (1_500, "2 kB"), (1_234_567, "1.2 MB")])
def test_sizes(number: int, words: str) -> None:
    assert size(number) == words


def test_a_number_that_is_none_is_a_dash() -> None:
    assert (figure(None), figure(12.3456), figure(-1000.0)) == ("–", "12.35", "-1000")


def test_the_clock_is_that_of_the_node() -> None:
    at = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
    assert clock(at) == at.astimezone().replace(tzinfo=None).isoformat(" ")


def test_every_severity_is_told() -> None:
    assert set(SEVERITIES) == set(Severity)
