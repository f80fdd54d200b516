"""What ails the node, as the page of its own process can know it.

The watchdog lives in another process. Where the site has a status page (`[status]`), its last round is asked for; it
alone knows of the main loop, the receiver and the engines. The other checks are made here, by the same functions.
"""

import json
import urllib.request
from collections.abc import Callable, Sequence
from functools import partial
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError

from dicom_node.constancy.stop import VerdictFile
from dicom_node.settings.config import NodeSettings
from dicom_node.watching.job_watch import JobsSeen
from dicom_node.watching.node_checks import (
    ANSWER,
    ARRIVALS,
    DATABASE,
    DISK,
    OLDEST_JOB,
    SELF_TEST,
    Check,
    CheckKind,
    Weight,
    check_answer,
    check_arrivals,
    check_database,
    check_disk,
    check_oldest_job,
    check_self_test,
    guarded,
    own_host,
)

WATCHDOG: Final = CheckKind(
    "watchdog", Weight.READY, "WATCHDOG_SILENT", "Does the status page of the node answer the page?"
)
_PATIENCE_S: Final = 2.0
_MOST_BYTES: Final = 100_000


def checks(settings: NodeSettings, seen: JobsSeen | None) -> tuple[Check, ...]:
    """Every check that can be had here.

    Args:
        settings: of the node.
        seen: queues, as last seen; None if the database could not be asked.
    """
    folders = list(dict.fromkeys((settings.data_dir, settings.shared_dir)))
    verdict = VerdictFile.under(settings.shared_dir)
    own: list[tuple[CheckKind, Callable[[], Check]]] = [
        (DATABASE, lambda: check_database(seen)),
        (DISK, partial(check_disk, folders, settings.minimum_free_mb)),
        (OLDEST_JOB, lambda: check_oldest_job(seen, settings.watchdog.oldest_job_h)),
        (ANSWER, partial(check_answer, verdict)),
        (SELF_TEST, partial(check_self_test, verdict, settings.self_test.every_h)),
        (ARRIVALS, partial(check_arrivals, settings)),
    ]
    made = [guarded(kind, look)() for kind, look in own]
    names = {check.name for check in made}
    return (*made, *(check for check in _of_watchdog(settings) if check.name not in names))


def _of_watchdog(settings: NodeSettings) -> Sequence[Check]:
    """The last round of the watchdog; none where the site has no status page."""
    status = settings.status
    if status.port is None:
        return ()
    host = own_host(status.host)
    where = f"http://{f'[{host}]' if ':' in host else host}:{status.port}/health/ready"
    try:
        answer = _answer(where)
        return [_check(name, fields) for name, fields in answer["checks"].items()]
    except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError) as fault:
        detail = f"The status page of the node does not answer ({type(fault).__name__}): it may not be running."
        return [Check(WATCHDOG.name, ok=False, weight=WATCHDOG.weight, code=WATCHDOG.code, detail=detail)]


def _answer(where: str) -> dict[str, Any]:
    request = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with request.open(where, timeout=_PATIENCE_S) as answer:
            body = answer.read(_MOST_BYTES)
    except HTTPError as not_ready:  # 503 says why
        with not_ready:
            body = not_ready.read(_MOST_BYTES)
    found: dict[str, Any] = json.loads(body)
    return found


def _check(name: str, fields: dict[str, Any]) -> Check:
    return Check(
        name, bool(fields["ok"]), Weight(fields["weight"]), str(fields.get("code", "")), str(fields.get("detail", ""))
    )
