"""The numbered list of changes that all browsers read."""

import asyncio
import threading

import pytest

from dicom_node.web.today import changes as changes_module
from dicom_node.web.today.changes import Changes


def kinds(changes: Changes, place: int) -> list[str] | None:
    found = changes.since(place)
    return None if found is None else [change.kind for change in found]


def test_a_reader_goes_on_where_it_was() -> None:
    changes = Changes()
    assert kinds(changes, 0) == []
    changes.add("a", "{}")
    place = changes.place_of(changes.name_of(changes.place()))
    changes.add("b", "{}")
    changes.add("c", "{}")
    assert place == 1
    assert kinds(changes, place) == ["b", "c"]
    assert kinds(changes, changes.place()) == []


def test_who_was_away_too_long_must_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes_module, "_KEPT", 3)
    changes = Changes()
    for _ in range(5):
        changes.add("a", "{}")
    assert kinds(changes, 1) is None
    assert kinds(changes, 2) == ["a", "a", "a"]
    assert changes.place_of(changes.name_of(1)) is None
    assert changes.place_of(changes.name_of(2)) == 2


@pytest.mark.parametrize("name", ["", "-", "1", "x-1", "{}-", "{}--1", "{}-1x", "{}-9", "{}-" + "9" * 30, "{}-²"])
def test_a_place_that_is_none_of_ours_is_no_place(name: str) -> None:
    changes = Changes()
    changes.add("a", "{}")
    epoch = changes.name_of(1).partition("-")[0]
    assert changes.place_of(name.replace("{}", epoch)) is None
    assert Changes().place_of(changes.name_of(1)) is None


def test_who_may_not_see_patients_has_a_text_of_their_own() -> None:
    changes = Changes()
    changes.add("case", "open", "masked")
    changes.add("node", "same")
    assert [(c.openly, c.masked) for c in changes.since(0) or ()] == [("open", "masked"), ("same", "same")]


def test_a_change_of_another_thread_wakes_who_waits_and_so_does_the_end() -> None:
    changes = Changes()

    async def wait(act: threading.Thread) -> None:
        news = changes.awaited()
        act.start()
        await asyncio.wait_for(news.wait(), 60.0)
        changes.leave(news)

    asyncio.run(wait(threading.Thread(target=changes.add, args=("a", "{}"))))
    asyncio.run(wait(threading.Thread(target=changes.close)))
    assert changes.is_closed
    changes.add("b", "{}")  # nobody waits, and the loops have ended


def test_a_loop_that_has_ended_holds_nobody_up() -> None:
    changes = Changes()

    async def forget() -> None:
        changes.awaited()

    asyncio.run(forget())
    changes.add("a", "{}")
    changes.add("b", "{}")
    assert changes.place() == 2
