from dicom_node.audit.flood import OTHERS, WINDOW_S, Flood


def test_the_first_is_told_at_once_and_the_rest_once_a_window() -> None:
    flood = Flood()
    assert flood.note("10.0.0.1", "C", 0.0) == 0
    assert [flood.note("10.0.0.1", "C", t) for t in (1.0, 2.0, WINDOW_S - 0.1)] == [None, None, None]
    assert flood.note("10.0.0.1", "C", WINDOW_S) == 3
    assert flood.note("10.0.0.1", "C", WINDOW_S + 1) is None


def test_other_addresses_and_reasons_are_not_hidden_by_a_flood() -> None:
    flood = Flood()
    assert [flood.note(*key, 0.0) for key in (("a", "C"), ("b", "C"), ("a", "D"))] == [0, 0, 0]


def test_what_was_counted_is_told_when_its_window_has_ended() -> None:
    flood = Flood()
    for _ in range(5):
        flood.note("a", "C", 0.0)
    flood.note("b", "C", 0.0)
    assert flood.overdue(WINDOW_S - 1) == []
    assert flood.overdue(WINDOW_S) == [("a", "C", 4)]
    assert flood.overdue(WINDOW_S) == []


def test_everything_is_told_at_the_end() -> None:
    flood = Flood()
    for _ in range(5):
        flood.note("a", "C", 0.0)
    assert flood.overdue(0.1, everything=True) == [("a", "C", 4)]


def test_a_flood_from_very_many_addresses_needs_little_memory_and_few_messages() -> None:
    flood = Flood()
    told = [n for i in range(100_000) if (n := flood.note(f"fd00::{i:x}", "C", 0.0)) is not None]
    assert len(told) == 257
    assert flood.overdue(WINDOW_S) == [(OTHERS, "C", 100_000 - 257)]
