"""All that watches over one `perfnode serve`: the looks at the database, the watchdog, the status page, the alerts."""

from collections.abc import Callable, Set
from functools import partial

from dicom_node.constancy.stop import VerdictFile
from dicom_node.jobs.jobs import JobBook
from dicom_node.metrics import counted_below
from dicom_node.processes.roles import ENGINE_ROLES, Role
from dicom_node.reception.last_received import LastReceived
from dicom_node.settings.config import NodeSettings
from dicom_node.watching.alerts import Reporter
from dicom_node.watching.chores import Chore
from dicom_node.watching.job_metrics import LookedUp, ServingModel
from dicom_node.watching.job_watch import LOOK_EVERY_S, JobWatch
from dicom_node.watching.node_checks import (
    ANSWER,
    ARRIVALS,
    DATABASE,
    DISK,
    ENGINES,
    OLDEST_JOB,
    RECEIVER,
    SELF_TEST,
    Look,
    check_answer,
    check_arrivals,
    check_database,
    check_disk,
    check_engines,
    check_oldest_job,
    check_receiver,
    check_self_test,
    guarded,
)
from dicom_node.watching.service_manager import READY, STOPPING, notify, status
from dicom_node.watching.status_page import StatusPage
from dicom_node.watching.watchdog import LastWords, Watchdog, end_node


class NodeWatch:
    """The parts, wired.

    Args:
        settings: of the node.
        roles: of this `serve`.
        port: which port the receiver listens on.
        engines: how many engine processes run.
        wanted_engines: how many should.
    """

    def __init__(
        self,
        settings: NodeSettings,
        roles: Set[Role],
        *,
        port: Callable[[], int],
        engines: Callable[[], int],
        wanted_engines: int,
    ) -> None:
        self._settings = settings
        open_book = partial(JobBook, settings.database, settings.cases())
        self._jobs = JobWatch(open_book)
        end = partial(end_node, last_words=LastWords.under(settings.data_dir))
        self.watchdog = Watchdog(
            settings.watchdog, looks(settings, roles, self._jobs, port, engines, wanted_engines), end=end
        )
        self._reporter = Reporter(settings, open_book, self.watchdog)
        self._page: StatusPage | None = None
        if Role.WEB in roles:
            collectors = (
                LookedUp(settings, self._jobs, ServingModel(settings).label),
                counted_below(settings.data_dir),
            )
            self._page = StatusPage(settings.status, self.watchdog, collectors)

    @property
    def chores(self) -> list[Chore]:
        """What comes round."""
        return [Chore("jobs-seen", LOOK_EVERY_S, self._jobs.look), *self._reporter.chores()]

    def start(self) -> None:
        """Begin to watch, and tell the service manager that the node serves.

        Raises:
            OSError: the status page cannot listen where it should.
        """
        LastReceived.beside(self._settings.data_dir / "spool").begin()
        if self._page is not None:
            self._page.start()
        self.watchdog.start()
        notify(READY, status("serving"))

    def stop(self) -> None:
        """Watch no longer; called before the other parts stop."""
        notify(STOPPING, status("stopping; what still runs goes on at the next start"))
        self.watchdog.stop()
        if self._page is not None:
            self._page.stop()


def looks(
    settings: NodeSettings,
    roles: Set[Role],
    jobs: JobWatch,
    port: Callable[[], int],
    engines: Callable[[], int],
    wanted_engines: int,
) -> list[Look]:
    """The checks that make sense for these roles; the arguments are those of `NodeWatch`."""
    folders = list(dict.fromkeys((settings.data_dir, settings.shared_dir)))
    limit_h = settings.watchdog.oldest_job_h
    found = [
        guarded(DATABASE, lambda: check_database(jobs.latest())),
        guarded(DISK, partial(check_disk, folders, settings.minimum_free_mb)),
        guarded(OLDEST_JOB, lambda: check_oldest_job(jobs.latest(), limit_h)),
    ]
    verdict = VerdictFile.under(settings.shared_dir)
    found.append(guarded(ANSWER, partial(check_answer, verdict)))
    found.append(guarded(SELF_TEST, partial(check_self_test, verdict, settings.self_test.every_h)))
    if Role.RECEIVER in roles:
        found.append(guarded(RECEIVER, lambda: check_receiver(settings, port())))
        found.append(guarded(ARRIVALS, partial(check_arrivals, settings)))
    if roles & ENGINE_ROLES:
        found.append(guarded(ENGINES, lambda: check_engines(engines(), wanted_engines)))
    return found
