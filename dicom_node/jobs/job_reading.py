"""What is true about every case: a typed view over the durable engine.

The engine (DBOS, see `job_engine`) keeps one row per attempt of a stage or of a delivery. This file reads those rows as
cases (`attempts`). It works beside a running node and without one.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, Self

from dbos import DBOSClient

from dicom_node.errors import NeverStarted, UnknownCase
from dicom_node.jobs.attempts import Attempt, AttemptId, Case, case_of
from dicom_node.jobs.cases import CaseStore
from dicom_node.jobs.dbos_settings import SERIALIZER
from dicom_node.jobs.job_database import JobDatabase
from dicom_node.jobs.job_rows import UNFINISHED, QueueState, Waiting, attempt_of, queue_states, waiting_line
from dicom_node.jobs.queues import CASE_WORKFLOWS, delivery_queue

_ROWS_AT_ONCE: Final = 1000
_CASES_AT_ONCE: Final = 50


class JobReading:
    """Reads what the engine has done and will do; a context manager that gives the database back.

    Raises:
        NeverStarted: no node has worked with this database yet.
    """

    def __init__(self, database: JobDatabase, cases: CaseStore) -> None:
        if not database.exists:
            raise NeverStarted(str(cases.root.parent))
        self._cases = cases
        # Whoever asks hears that the database is away, and decides when to ask again.
        self._client = DBOSClient(
            system_database_url=database.url, serializer=SERIALIZER, retry_connection_errors=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._client.destroy()

    def cases(self) -> list[Case]:
        """Every case, the oldest first."""
        grouped: dict[str, list[Attempt]] = {}
        for row in self._client.list_workflows(name=list(CASE_WORKFLOWS), load_input=False):
            attempt = attempt_of(row)
            grouped.setdefault(attempt.id.case_id, []).append(attempt)
        return sorted((case_of(attempts) for attempts in grouped.values()), key=lambda case: case.created_at_s)

    def changed_since(self, since_s: float) -> list[Case]:
        """Every case of which an attempt ended after that Unix time."""
        since = datetime.fromtimestamp(since_s, UTC).isoformat()
        ended = self._client.list_workflows(
            name=list(CASE_WORKFLOWS), completed_after=since, load_input=False, load_output=False
        )
        case_ids = sorted({AttemptId.parse(row.workflow_id).case_id for row in ended})
        return list(self._cases_of(case_ids))

    def case_ids(self) -> set[str]:
        """Ids of all cases that were ever started."""
        rows = self._client.list_workflows(name=list(CASE_WORKFLOWS), load_input=False, load_output=False)
        return {row.workflow_id.partition(":")[0] for row in rows}

    def newest_cases(self) -> Iterator[Case]:
        """Every case, the one with the newest attempt first; read bit by bit, so that the first ones cost little."""
        seen: set[str] = set()
        offset = 0
        while rows := self._client.list_workflows(
            name=list(CASE_WORKFLOWS),
            sort_desc=True,
            limit=_ROWS_AT_ONCE,
            offset=offset,
            load_input=False,
            load_output=False,
        ):
            offset += len(rows)
            ids = dict.fromkeys(AttemptId.parse(row.workflow_id).case_id for row in rows)
            new = [case_id for case_id in ids if case_id not in seen]
            seen.update(new)
            yield from self._cases_of(new)

    def waiting(self) -> list[QueueState]:
        """How much waits and runs in every queue that is not empty; loads neither inputs nor outputs."""
        return queue_states(self._client.list_workflows(status=UNFINISHED, load_input=False, load_output=False))

    def waiting_line(self, destination: str) -> list[Waiting]:
        """Who waits for a destination because it was not there, the first in line first."""
        return waiting_line(self._client.list_workflows, delivery_queue(destination))

    def case(self, case_id: str) -> Case:
        """One case.

        Raises:
            UnknownCase: the engine has no row of it.
        """
        attempts = self._attempts(case_id)
        if not attempts:
            raise UnknownCase(case_id)
        return case_of(attempts)

    def _attempts(self, case_id: str) -> list[Attempt]:
        rows = self._client.list_workflows(workflow_id_prefix=f"{case_id}:", load_input=False)
        return [attempt_of(row) for row in rows]

    def _cases_of(self, case_ids: Sequence[str]) -> Iterator[Case]:
        for first in range(0, len(case_ids), _CASES_AT_ONCE):
            some = case_ids[first : first + _CASES_AT_ONCE]
            grouped: dict[str, list[Attempt]] = {case_id: [] for case_id in some}
            prefixes = [f"{case_id}:" for case_id in some]
            for row in self._client.list_workflows(workflow_id_prefix=prefixes, load_input=False):
                attempt = attempt_of(row)
                grouped[attempt.id.case_id].append(attempt)
            yield from (case_of(attempts) for attempts in grouped.values() if attempts)
