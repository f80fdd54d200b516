"""What ails the node, as another process can know it: by its own checks, and by the status page of the node."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from dicom_node.settings.config import NodeSettings
from dicom_node.settings.watch_settings import StatusSettings
from dicom_node.watching.job_watch import JobsSeen
from dicom_node.watching.node_checks import ENGINES, RECEIVER, Check, failed, passed
from dicom_node.watching.status_page import StatusPage
from dicom_node.web.today.alarms import checks
from tests.peers import free_port

SEEN = JobsSeen((), {})


class Watched:
    """A watchdog whose last round is given."""

    def __init__(self, found: Sequence[Check]) -> None:
        self.checks = found
        self.is_ready = all(check.ok for check in found)
        self.is_alive = True


def failing(settings: NodeSettings, seen: JobsSeen | None = SEEN) -> dict[str, str]:
    """Code of every check that failed, by its name."""
    return {check.name: check.code for check in checks(settings, seen) if not check.ok}


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def watched(node_settings: NodeSettings, port: int) -> NodeSettings:
    """The node with a status page on that port."""
    return replace(node_settings, status=StatusSettings(port=port))


@pytest.fixture
def status_page(watched: NodeSettings) -> Iterator[StatusPage]:
    """The status page of a node whose engines are down."""
    page = StatusPage(watched.status, Watched([passed(RECEIVER), failed(ENGINES, "0 of 2 processes run.")]))
    page.start()
    yield page
    page.stop()


def test_a_node_that_is_well_has_no_alarm(node_settings: NodeSettings) -> None:
    assert failing(node_settings) == {}
    names = {check.name for check in checks(node_settings, SEEN)}
    assert names == {"database", "disk", "oldest-job", "answer", "self-test", "arrivals"}


def test_own_checks_tell_of_database_and_disk(node_settings: NodeSettings) -> None:
    assert failing(node_settings, None) == {"database": "DATABASE_AWAY"}
    assert failing(replace(node_settings, minimum_free_mb=10**12)) == {"disk": "DISK_LOW"}


def test_the_watchdog_tells_what_it_alone_can_see(watched: NodeSettings, status_page: StatusPage) -> None:
    assert status_page.port == watched.status.port
    assert failing(watched) == {"engines": "ENGINE_DOWN"}
    assert "receiver" in {check.name for check in checks(watched, SEEN)}


def test_a_node_that_does_not_answer_is_an_alarm(watched: NodeSettings) -> None:
    assert failing(watched) == {"watchdog": "WATCHDOG_SILENT"}
