"""UIDs that follow from content."""

from training.insilico.uids import derived_uid


def test_equal_content_has_the_equal_uid_and_other_content_another() -> None:
    assert derived_uid("a", "b") == derived_uid("a", "b")
    assert len({derived_uid("a", "b"), derived_uid("b", "a"), derived_uid("ab"), derived_uid("a", "b", "")}) == 4


def test_uids_are_those_of_the_root_for_uuids() -> None:
    for number in range(50):
        root, arc, value = derived_uid(str(number)).split(".")
        assert (root, arc) == ("2", "25")
        assert 0 <= int(value) < 2**128
        assert str(int(value)) == value
