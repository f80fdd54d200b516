"""What the page asks the engine again and again; each question finds its rows by an index of the database.

`JobReading.changed_since` and reading cases by the beginning of their ids look at every row there is: 40 ms of a
processor for 10,000 cases. Rows since a time of creation, and rows by their names, cost 2 ms.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from dicom_node.jobs.attempts import Attempt, AttemptId
from dicom_node.jobs.job_reading import JobReading
from dicom_node.jobs.job_rows import attempt_of
from dicom_node.jobs.queues import CASE_WORKFLOWS

_AT_ONCE: Final = 400
"""Rows that are asked for by name in one question."""


class CaseReading(JobReading):
    """Reads attempts one by one; a context manager that gives the database back."""

    def created_since(self, since_s: float) -> list[AttemptId]:
        """Every attempt of a case that was queued after a Unix time, the oldest first."""
        since = datetime.fromtimestamp(since_s, UTC).isoformat()
        rows = self._client.list_workflows(
            name=list(CASE_WORKFLOWS), start_time=since, load_input=False, load_output=False
        )
        return [AttemptId.parse(row.workflow_id) for row in rows]

    def attempts(self, wanted: Iterable[AttemptId]) -> list[Attempt]:
        """These attempts as they are now; those that are gone are left out."""
        names, found = iter(wanted), []
        while some := [str(name) for name in islice(names, _AT_ONCE)]:
            found += [attempt_of(row) for row in self._client.list_workflows(workflow_ids=some, load_input=False)]
        return found

    def attempts_of(self, case_id: str) -> list[Attempt]:
        """Every attempt of one case."""
        return self._attempts(case_id)
