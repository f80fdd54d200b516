"""How often somebody may try to sign in, on a clock that the test turns."""

import pytest

from dicom_node.errors import SignInTooOften
from dicom_node.web.access.throttle import TRIES_OF_ADDRESS, TRIES_OF_NAME, WINDOW_S, SignInThrottle
from tests.dicom_node.web.access.test_sessions import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def throttle(clock: Clock) -> SignInThrottle:
    return SignInThrottle(clock)


def fail(throttle: SignInThrottle, times: int, name: str = "ada", address: str = "192.0.2.1") -> None:
    for _ in range(times):
        throttle.begin(name, address)


def test_a_name_is_tried_a_few_times_and_again_after_a_while(throttle: SignInThrottle, clock: Clock) -> None:
    fail(throttle, TRIES_OF_NAME)
    clock.now += 100.0
    with pytest.raises(SignInTooOften) as caught:
        throttle.begin("ADA", "192.0.2.1")
    assert caught.value.wait_s == WINDOW_S - 100.0
    clock.now += WINDOW_S - 100.0
    throttle.begin("ada", "192.0.2.1")


def test_tries_that_are_refused_do_not_prolong_the_wait(throttle: SignInThrottle, clock: Clock) -> None:
    fail(throttle, TRIES_OF_NAME)
    for _ in range(20):
        with pytest.raises(SignInTooOften):
            throttle.begin("ada", "192.0.2.1")
    clock.now += WINDOW_S
    throttle.begin("ada", "192.0.2.1")


def test_nobody_is_locked_out_from_another_address_or_under_another_name(throttle: SignInThrottle) -> None:
    fail(throttle, TRIES_OF_NAME)
    throttle.begin("ada", "192.0.2.2")
    throttle.begin("bob", "192.0.2.1")


def test_an_address_that_tries_many_names_has_to_wait_too(throttle: SignInThrottle) -> None:
    for number in range(TRIES_OF_ADDRESS):
        throttle.begin(f"name-{number}", "192.0.2.1")
    with pytest.raises(SignInTooOften):
        throttle.begin("one more", "192.0.2.1")
    throttle.begin("one more", "192.0.2.2")


def test_who_gets_in_has_mistyped_before_and_nothing_more(throttle: SignInThrottle) -> None:
    for _ in range(TRIES_OF_ADDRESS):
        fail(throttle, TRIES_OF_NAME - 1)
        throttle.begin("ada", "192.0.2.1")
        throttle.succeeded("ada", "192.0.2.1")
    fail(throttle, TRIES_OF_NAME)
    with pytest.raises(SignInTooOften):
        throttle.begin("ada", "192.0.2.1")


def test_who_gets_in_does_not_free_the_address_for_guesses_at_others(throttle: SignInThrottle) -> None:
    for number in range(TRIES_OF_ADDRESS - 1):
        throttle.begin(f"name-{number}", "192.0.2.1")
    throttle.begin("ada", "192.0.2.1")
    throttle.succeeded("ada", "192.0.2.1")
    throttle.begin("one more", "192.0.2.1")
    with pytest.raises(SignInTooOften):
        throttle.begin("another one", "192.0.2.1")


def test_a_refusal_is_news_once_in_a_while(throttle: SignInThrottle, clock: Clock) -> None:
    assert throttle.is_news("ada", "192.0.2.1")
    assert not throttle.is_news("Ada", "192.0.2.1")
    assert throttle.is_news("ada", "192.0.2.2")
    clock.now += WINDOW_S
    assert throttle.is_news("ada", "192.0.2.1")
