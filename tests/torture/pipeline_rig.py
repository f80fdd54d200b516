"""A node under torture: its hosts, its database, its archive, made from a few words of configuration."""

import random
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dicom_node.jobs.attempts import Case
from dicom_node.jobs.cases import CaseStore
from dicom_node.jobs.job_database import JobDatabase, server_database
from dicom_node.jobs.jobs import JobBook
from tests.torture.pipeline_archive import Archive, Line, archive
from tests.torture.pipeline_hosts import Host, Network, NoNamespaces, network
from tests.torture.pipeline_jobs import STAGE_ATTEMPTS
from tests.torture.postgres import PostgresServer, postgres

ALL: Final = ("receiver", "worker", "sender", "web")
SPREAD: Final = (("receiver", "worker", "sender", "web"), ("receiver", "worker"), ("worker", "sender"))
"""Three hosts: two receivers, three workers, two senders."""
_SITE: Final = """
[node]
host = "{ip}"
port = {port}
data_dir = "data"
{shared}
quiet_period_s = 0.3
minimum_free_mb = 100
receiver_processes = 1
[database]
url = "{database}"
[work]
stage_timeout_s = {stage_timeout_s}
stage_attempts = {stage_attempts}
retry_delays_s = [{delays}]
restart_limit = {restart_limit}
{work}
[self_test]
every_h = 0
[log]
format = "json"
[[rules]]
name = "all"
action = "process"
[[destinations]]
name = "archive"
ae_title = "{archive_title}"
host = "{archive_host}"
port = {archive_port}
objects = ["parametric-map", "mr-twin"]
verify = "find"
"""
_RESTART_LIMIT: Final = 30
"""How often an attempt may be taken up again: everything is killed often here."""
_GIVEN_UP_S: Final = 11.0
"""What the keepalives of the server make of a client that a network has cut off."""
END_S: Final = 240.0
"""After the last fault everything must be finished within this time."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a run is made of."""

    name: str
    hosts: int = 1
    with_server: bool = False
    """PostgreSQL instead of SQLite."""
    jobs: int = 200
    seconds: float = 300.0
    """How long faults go on, at most; they end when the last job has been sent and the kills are done."""
    kills: int = 40
    database_kills: int = 0
    seed: int = 1


@dataclass
class Rig:
    """A node on its hosts, its database, its archive, and the jobs that are sent to it."""

    shared: Path
    run: str
    chance: random.Random
    hosts: list[Host]
    archive: Archive
    database: JobDatabase
    server: PostgresServer | None = None
    network: Network | None = None
    lines: list[Line] = field(default_factory=list)
    """To the database, one per host, where there are no namespaces."""

    @property
    def store(self) -> CaseStore:
        """The cases of all hosts."""
        return CaseStore.under(self.shared)

    def cases(self) -> list[Case]:
        """Every case as it stands."""
        with JobBook(self.database, self.store) as book:
            return book.cases()

    def retry(self, case_id: str) -> None:
        """What a person does with a failed case."""
        with JobBook(self.database, self.store) as book:
            book.retry(case_id)

    @property
    def receivers(self) -> list[Host]:
        """Hosts that a scanner can send to."""
        return [host for host in self.hosts if "receiver" in host.roles]

    def start(self) -> None:
        """Start every host."""
        for host in self.hosts:
            host.start()

    def stop(self) -> None:
        """Stop every host in order."""
        stopping = [threading.Thread(target=host.stop) for host in self.hosts]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()


@contextmanager
def rig(
    setting: Setting, folder: Path, *, work: str = "", stage_timeout_s: float = 6.0, on_loopback: bool = False
) -> Iterator[Rig]:
    """All parts, made and not started.

    Args:
        setting: how many hosts, which database.
        folder: for everything.
        work: further lines of the table `[work]`.
        stage_timeout_s: limit of a stage.
        on_loopback: several hosts without namespaces, each with a line of its own to the database.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        net = _network(stack, setting.hosts) if setting.hosts > 1 and not on_loopback else None
        peers_ip = net.ip if net else "127.0.0.1"
        orthanc = stack.enter_context(archive(folder / "archive", peers_ip))
        server, lines = None, []
        databases = [JobDatabase.under(folder / "h0" / "data")]
        if setting.with_server:
            server = stack.enter_context(postgres(folder, addresses=tuple({"127.0.0.1", peers_ip})))
            urls = [server.url(host=peers_ip)] * setting.hosts
            if setting.hosts > 1 and net is None:
                lines = [Line(("127.0.0.1", server.port), given_up_after_s=_GIVEN_UP_S) for _ in range(setting.hosts)]
                for line in lines:
                    stack.callback(line.end)
                urls = [
                    url.replace(f":{server.port}/", f":{line.port}/") for url, line in zip(urls, lines, strict=True)
                ]
            databases = [server_database(server.url(), None), *(server_database(url, None) for url in urls)]
        run, shared = uuid.uuid4().hex, folder / ("shared" if server else "h0/data")

        def site(host: Host) -> str:
            number = int(host.name[1:])
            url = databases[1 + number].url if server else "sqlite"
            return _SITE.format(
                ip=host.ip, port=host.address.port, database=url, work=work,
                shared=f'shared_dir = "{shared}"' if server else "",
                stage_timeout_s=stage_timeout_s, stage_attempts=STAGE_ATTEMPTS, delays=", ".join(["1"] * 30),
                restart_limit=_RESTART_LIMIT, archive_title=orthanc.address.ae_title,
                archive_host=orthanc.address.host, archive_port=orthanc.address.port,
            )  # fmt: skip

        hosts = []
        for number in range(setting.hosts):
            ip, prefix = (net.ip_of(number), net.prefix(number)) if net else ("127.0.0.1", [])
            roles = ALL if setting.hosts == 1 else SPREAD[number % len(SPREAD)]
            hosts.append(Host(f"h{number}", roles, folder / f"h{number}", ip, run, site, prefix))
        yield Rig(shared, run, random.Random(setting.seed), hosts, orthanc, databases[0], server, net, lines)


def _network(stack: ExitStack, hosts: int) -> Network | None:
    try:
        return stack.enter_context(network(hosts))
    except NoNamespaces as fault:
        print(f"no network namespaces here, three hosts on loopback instead ({fault})", flush=True)
        return None


def finished(rig: Rig, count: int, limit_s: float = END_S) -> list[Case]:
    """The cases when all are finished, or when the time is over."""
    end, cases = time.monotonic() + limit_s, []
    while time.monotonic() < end:
        with suppress(Exception):  # the database may be away, or not there yet
            cases = rig.cases()
            if len(cases) >= count and not any(_is_moving(case) for case in cases):
                break
        time.sleep(1.0)
    return cases


def _is_moving(case: Case) -> bool:
    """Whether anything still happens by itself; a notice may be on its way when the case itself has ended."""
    return not case.is_finished or any(attempt.is_active for attempt in case.attempts)
