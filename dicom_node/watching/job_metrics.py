"""What is looked up when somebody scrapes: queues, cases, arrivals, disk, GPU, and which program this is.

Nothing here waits for the database (`job_watch`) or fails a scrape: what cannot be found out is left out.
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dicom_node.constancy.drift_news import PATIENTS, SELF_TESTS, DriftNewsFile
from dicom_node.constancy.stop import VerdictFile
from dicom_node.metrics import Kind, Metric
from dicom_node.reception.arrivals import Arrivals
from dicom_node.reception.last_received import LastReceived
from dicom_node.reception.spool import Spool
from dicom_node.settings.config import NodeSettings
from dicom_node.watching.job_watch import JobWatch
from inference.errors import InferenceError
from inference.model_card import ModelCard
from inference.models.promotion import IN_FORCE_FILE, read_serving_bundle

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

DATABASE_UP: Final = Metric("perfnode_database_up", Kind.GAUGE, "1 if the job database answers.")
QUEUE_JOBS: Final = Metric(
    "perfnode_queue_jobs", Kind.GAUGE, "Jobs by queue and state: waiting, running, delayed.", ("queue", "state")
)
OLDEST_JOB: Final = Metric(
    "perfnode_oldest_job_age_seconds", Kind.GAUGE, "Age of the oldest unfinished job, by queue.", ("queue",)
)
CASES: Final = Metric(
    "perfnode_cases", Kind.GAUGE, "Cases to which something happened within a day, by state.", ("state",)
)
ARRIVALS: Final = Metric(
    "perfnode_arrivals", Kind.GAUGE, "Series of this host that are no cases, by state.", ("state",)
)
SPOOL_BYTES: Final = Metric("perfnode_spool_bytes", Kind.GAUGE, "Size of what lies in the spool of this host.")
DISK_FREE: Final = Metric("perfnode_disk_free_bytes", Kind.GAUGE, "Free disk, by directory.", ("directory",))
LAST_RECEIVED: Final = Metric(
    "perfnode_last_received_timestamp_seconds", Kind.GAUGE, "When this host last received an image."
)
CHECK_OK: Final = Metric("perfnode_check_ok", Kind.GAUGE, "1 if the check of the watchdog passes.", ("check",))
GPU_MEMORY: Final = Metric(
    "perfnode_gpu_memory_bytes", Kind.GAUGE, "Memory of each GPU of this host: used, total.", ("gpu", "what")
)
SELF_TEST_TIME: Final = Metric(
    "perfnode_self_test_timestamp_seconds",
    Kind.GAUGE,
    "When a self-test through the port last gave an answer, and when one last passed: answered, passed.",
    ("what",),
)
DRIFT_RULES: Final = Metric(
    "perfnode_drift_rules_broken",
    Kind.GAUGE,
    "How many of Nelson's rules the newest values of a chart broke at the last look, of patients or self-tests.",
    ("of", "figure"),
)
BUILD: Final = Metric("perfnode_build_info", Kind.GAUGE, "Always 1; version and model.", ("version", "model"))
LOOKED_UP: Final = (
    DATABASE_UP,
    QUEUE_JOBS,
    OLDEST_JOB,
    CASES,
    ARRIVALS,
    SPOOL_BYTES,
    DISK_FREE,
    LAST_RECEIVED,
    CHECK_OK,
    GPU_MEMORY,
    SELF_TEST_TIME,
    DRIFT_RULES,
    BUILD,
)
"""Every metric that is looked up."""
_FILES_MOST: Final = 200_000
"""A spool with more files is not measured at every scrape."""
Values = list[tuple[tuple[str, ...], float]]


class LookedUp:
    """A collector of prometheus_client.

    Args:
        settings: of the node.
        jobs: what was last seen in the database.
        model: says which model makes the maps.
    """

    def __init__(self, settings: NodeSettings, jobs: JobWatch, model: Callable[[], str]) -> None:
        self._settings = settings
        self._jobs = jobs
        self._model = model

    def collect(self) -> "Iterator[Family]":
        """Every metric that could be looked up."""
        watched = (self._of_self_tests, self._of_drift)
        for look in (self._of_jobs, self._of_arrivals, self._of_disk, self._of_gpus, *watched, self._of_build):
            found: dict[Metric, Values] = {}
            with suppress(Exception):  # one that cannot be looked up must not hide the others
                found = look()
            yield from (family(metric, values) for metric, values in found.items())

    def _of_jobs(self) -> dict[Metric, Values]:
        seen, now_s = self._jobs.latest(), time.time()
        if seen is None:
            return {DATABASE_UP: [((), 0.0)]}
        jobs: Values = []
        ages: Values = []
        for queue in seen.queues:
            counts = (("waiting", queue.waiting), ("running", queue.running), ("delayed", queue.delayed))
            jobs += [((queue.queue, state), float(count)) for state, count in counts]
            if queue.oldest_created_at_s:
                ages.append(((queue.queue,), max(0.0, now_s - queue.oldest_created_at_s)))
        cases: Values = [((state,), float(count)) for state, count in sorted(seen.cases.items())]
        return {DATABASE_UP: [((), 1.0)], QUEUE_JOBS: jobs, OLDEST_JOB: ages, CASES: cases}

    def _of_arrivals(self) -> dict[Metric, Values]:
        root = self._settings.data_dir / "spool"
        if not root.is_dir():
            return {}
        states = Counter(arrival.state.value for arrival in Arrivals.under(self._settings.data_dir, Spool(root)).all())
        return {ARRIVALS: [((state,), float(count)) for state, count in sorted(states.items())]}

    def _of_disk(self) -> dict[Metric, Values]:
        settings = self._settings
        folders = {"data": settings.data_dir, "shared": settings.shared_dir}
        free: Values = [
            ((name,), float(shutil.disk_usage(folder).free)) for name, folder in folders.items() if folder.is_dir()
        ]
        return {DISK_FREE: free, **_spool_bytes(settings), **_last_received(settings)}

    def _of_gpus(self) -> dict[Metric, Values]:
        return {GPU_MEMORY: gpu_memory()}

    def _of_self_tests(self) -> dict[Metric, Values]:
        last = VerdictFile.under(self._settings.shared_dir).read()
        if last is None:
            return {}
        times = (("answered", last.answered_at_s), ("passed", last.passed_at_s))
        return {SELF_TEST_TIME: [((what,), at_s) for what, at_s in times if at_s]}

    def _of_drift(self) -> dict[Metric, Values]:
        news = DriftNewsFile.under(self._settings.shared_dir).read()
        charts = {} if news is None else {PATIENTS: news.patients, SELF_TESTS: news.self_tests}
        found: Values = [((of, name), float(len(rules))) for of, by in charts.items() for name, rules in by.items()]
        return {DRIFT_RULES: found} if found else {}

    def _of_build(self) -> dict[Metric, Values]:
        return {BUILD: [((version("perfusion-node"), self._model()), 1.0)]}


class ServingModel:
    """Which model makes the maps now. A bundle is read again only when another one is in force.

    Args:
        settings: of the node.
    """

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._choice = self._chosen()
        self._label = model_label(settings)

    def label(self) -> str:
        """Its name and version, or the code of what is wrong with it."""
        if (choice := self._chosen()) != self._choice:
            self._choice, self._label = choice, model_label(self._settings)
        return self._label

    def _chosen(self) -> bytes:
        """What the registry says is in force, as it stands there."""
        try:
            return (self._settings.model_registry().folder / IN_FORCE_FILE).read_bytes()
        except OSError:
            return b""


def model_label(settings: NodeSettings) -> str:
    """Which model makes the maps of this node, or the code of what is wrong with it."""
    engine = settings.engine
    if engine.perfusion == "densitometric" or (engine.perfusion == "network" and engine.model_folder is None):
        return "densitometric"
    try:
        if engine.perfusion == "bundle" or engine.model_folder is None:
            bundle = read_serving_bundle(engine.model_folder, engine.trusted_keys, engine.model_registry)
            return bundle.identity.label()
        return ModelCard.read(engine.model_folder).identity.label()
    except InferenceError as fault:
        return fault.code


def gpu_memory() -> Values:
    """Used and total memory of each GPU; empty without GPU, driver or the extra `gpu`."""
    library = _nvml()
    if library is None:
        return []
    found: Values = []
    for number in range(library.nvmlDeviceGetCount()):
        memory = library.nvmlDeviceGetMemoryInfo(library.nvmlDeviceGetHandleByIndex(number))
        found += [((str(number), "used"), float(memory.used)), ((str(number), "total"), float(memory.total))]
    return found


@cache
def _nvml() -> Any:
    """NVIDIA's management library, opened once: without a persistent driver that takes seconds."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def _spool_bytes(settings: NodeSettings) -> dict[Metric, Values]:
    total, files = 0, 0
    for folder, _, names in os.walk(settings.data_dir / "spool"):
        files += len(names)
        if files > _FILES_MOST:
            return {}
        for name in names:
            with suppress(OSError):  # taken meanwhile
                total += Path(folder, name).stat().st_size
    return {SPOOL_BYTES: [((), float(total))]}


def _last_received(settings: NodeSettings) -> dict[Metric, Values]:
    last = LastReceived.beside(settings.data_dir / "spool")
    return {LAST_RECEIVED: [((), last.at_s())]} if last.path.exists() else {}


def family(metric: Metric, values: Values) -> "Family":
    """The metric as prometheus_client writes it."""
    from prometheus_client.core import GaugeMetricFamily

    made = GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    for labels, value in values:
        made.add_metric(labels, value)
    return made
