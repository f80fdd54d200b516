"""How long sessions last, on a clock that the test turns."""

import pytest

from dicom_node.web.access.rights import PageRole
from dicom_node.web.access.sessions import SessionLimits, Sessions


class Clock:
    """Monotonic time that stands still."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Sessions:
    return Sessions(SessionLimits(idle_s=60.0, whole_s=600.0), clock)


def test_who_does_something_stays_and_who_does_nothing_goes(sessions: Sessions, clock: Clock) -> None:
    key = sessions.begin("ada", PageRole.VIEWER, "mark")
    clock.now += 59.0
    assert sessions.find(key, is_use=True) is not None
    clock.now += 59.0
    assert sessions.find(key, is_use=True) is not None
    clock.now += 60.0
    assert sessions.find(key, is_use=True) is None


def test_what_a_page_asks_for_by_itself_keeps_nobody_in(sessions: Sessions, clock: Clock) -> None:
    key = sessions.begin("ada", PageRole.VIEWER, "mark")
    clock.now += 59.0
    assert sessions.find(key, is_use=False) is not None
    clock.now += 1.0
    assert sessions.find(key, is_use=False) is None


def test_no_session_lasts_longer_than_the_site_wants(sessions: Sessions, clock: Clock) -> None:
    key = sessions.begin("ada", PageRole.VIEWER, "mark")
    for _ in range(11):
        clock.now += 50.0
        assert sessions.find(key, is_use=True) is not None
    clock.now += 50.0
    assert sessions.find(key, is_use=True) is None


def test_an_expired_session_does_not_come_back(sessions: Sessions, clock: Clock) -> None:
    key = sessions.begin("ada", PageRole.VIEWER, "mark")
    clock.now += 61.0
    sessions.find(key, is_use=True)
    clock.now -= 30.0
    assert sessions.find(key, is_use=True) is None


def test_an_ended_session_is_over_and_others_go_on(sessions: Sessions) -> None:
    key, other = (sessions.begin("ada", PageRole.VIEWER, "mark") for _ in range(2))
    sessions.end(key)
    assert sessions.find(key, is_use=True) is None
    assert sessions.find(other, is_use=True) is not None


def test_keys_are_long_never_the_same_and_not_kept(sessions: Sessions) -> None:
    keys = {sessions.begin("ada", PageRole.VIEWER, "mark") for _ in range(50)}
    assert len(keys) == 50
    assert all(len(key) >= 43 for key in keys)
    assert not any(key in repr(vars(sessions)) for key in keys)
    assert sessions.find("", is_use=True) is None


def test_there_is_an_end_to_how_many_there_are(sessions: Sessions, clock: Clock) -> None:
    oldest = sessions.begin("ada", PageRole.VIEWER, "mark")
    clock.now += 1.0
    for _ in range(999):
        sessions.begin("bob", PageRole.VIEWER, "mark")
    assert sessions.find(oldest, is_use=False) is not None
    sessions.begin("bob", PageRole.VIEWER, "mark")
    assert sessions.find(oldest, is_use=False) is None


def test_a_token_belongs_to_its_key_and_to_this_process(sessions: Sessions, clock: Clock) -> None:
    other = Sessions(SessionLimits(60.0, 600.0), clock)
    assert sessions.is_token(sessions.token("a"), "a")
    assert not sessions.is_token(sessions.token("a"), "b")
    assert not sessions.is_token(other.token("a"), "a")
    assert not sessions.is_token("", "a")
    assert not sessions.is_token("é", "a")
