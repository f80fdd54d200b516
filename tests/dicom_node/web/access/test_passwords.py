"""Passwords: their length, and that a name which nobody has takes the same work."""

import pytest

from dicom_node.errors import AccountRefused
from dicom_node.web.access.passwords import LONGEST, SHORTEST, fits, hash_of


def test_a_password_fits_its_own_hash_alone() -> None:
    kept = hash_of("a quiet morning")
    assert kept.startswith("$argon2id$")
    assert "quiet" not in kept
    assert fits("a quiet morning", kept)
    assert not fits("a quiet evenin", kept)


def test_two_hashes_of_one_password_differ() -> None:
    assert hash_of("a quiet morning") != hash_of("a quiet morning")


def test_without_a_hash_nothing_fits_not_even_what_is_hashed_for_nobody() -> None:
    assert not fits("of nobody, for the time that it takes", None)


def test_what_is_no_hash_fits_nothing() -> None:
    assert not fits("a quiet morning", "a quiet morning")


@pytest.mark.parametrize("length", [SHORTEST - 1, LONGEST + 1])
def test_a_password_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(AccountRefused, match=str(SHORTEST)):
        hash_of("x" * length)


def test_a_password_longer_than_any_is_not_hashed_whole() -> None:
    assert not fits("x" * (LONGEST + 1), hash_of("x" * LONGEST))
