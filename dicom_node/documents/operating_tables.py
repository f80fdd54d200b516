"""Tables of `docs/operating.md`: every metric, check, and event that somebody may be told of."""

from collections.abc import Iterable

from dicom_node.documents.page import Tables, table
from dicom_node.metrics import COUNTED, Metric
from dicom_node.settings.alert_settings import AlertEvent
from dicom_node.watching.job_metrics import LOOKED_UP
from dicom_node.watching.node_checks import KINDS, Weight

_TOLD: dict[AlertEvent, str] = {
    AlertEvent.FAILED: "a case is FAILED: attempts are used up, it crashed too often, or a destination refused it",
    AlertEvent.HELD: "a case is HELD, or a series has been held for 15 minutes, and waits for a person",
    AlertEvent.LATE: "a check of the weight `late` failed",
    AlertEvent.NODE: "a check of another weight failed `watchdog.failures` times in a row; the watchdog ended the "
    "node; the work of a dead process was taken over; the self-test failed",
    AlertEvent.TEST: "`perfnode alerts test`; goes to every alert",
}
_WEIGHTS: dict[Weight, str] = {
    Weight.VITAL: "not ready; after `watchdog.failures` times in a row the node ends with status 69",
    Weight.READY: "not ready",
    Weight.LATE: "somebody is told; the node stays ready",
}


def metrics_table() -> str:
    """Every metric with its labels."""
    return table(("metric", "kind", "labels", "meaning"), [_row(metric) for metric in (*COUNTED, *LOOKED_UP)])


def _row(metric: Metric) -> Iterable[str]:
    return f"`{metric.name}`", metric.kind.value, ", ".join(metric.labels) or "none", metric.meaning


def checks_table() -> str:
    """Every check of the watchdog."""
    rows = [(f"`{kind.name}`", kind.question, f"`{kind.code}`", _WEIGHTS[kind.weight]) for kind in KINDS]
    return table(("check", "question", "code if not", "what follows"), rows)


def events_table() -> str:
    """Every event that somebody may be told of."""
    return table(("event", "when"), [(f"`{event.value}`", _TOLD[event]) for event in AlertEvent])


TABLES: Tables = {"metrics": metrics_table, "checks": checks_table, "events": events_table}
