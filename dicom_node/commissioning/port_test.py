"""Sends a CT to the running node through its own port, as a scanner does, and waits for what it makes of it.

    files ─ C-STORE, TLS ─▶ receiver ▶ spool ▶ intake ▶ queue ▶ stages, each in its process ▶ objects, checked ▶ answer

The same port, processes, queue and models as for a patient. The images are sent under UIDs by which the node knows its
own series (`constancy.own_series`): they go before others, and what comes of them goes to the destination that the site
names for tests or nowhere.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from zipfile import BadZipFile

from pydicom import Dataset, dcmread

from dicom_node.commissioning.expected import MadeBy
from dicom_node.commissioning.figures import figures_of
from dicom_node.constancy.own_series import as_series, new_series_uid
from dicom_node.errors import DeliveryError, NoAnswerInTime, PortTestRefused, UnknownCase
from dicom_node.jobs.attempts import Case, CaseState
from dicom_node.jobs.cases import CaseFolder
from dicom_node.jobs.jobs import JobBook
from dicom_node.jobs.stages import Stage
from dicom_node.network.addresses import AeAddress
from dicom_node.network.delivery import send
from dicom_node.network.requestor import Peer
from dicom_node.results.result_files import read_ct, read_result
from dicom_node.settings.config import NodeSettings
from dicom_node.watching.node_checks import own_host
from inference.engine import PerfusionResult
from inference.volumes import CtVolume

_LOOK_S: Final = 0.5
_SEND_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the node made of a CT."""

    case: Case
    made_by: MadeBy | None
    """None if there is no result."""
    figures: dict[str, float]
    """See `figures`; none if there is no result."""
    ct: CtVolume | None
    result: PerfusionResult | None
    took_s: float
    """From the end of the transfer to the last thing that the node did about it."""

    @property
    def ran_on(self) -> tuple[str, ...]:
        """How each network ran: its name, device, precision and rung of the ladder."""
        records = self.result.execution if self.result is not None else ()
        return tuple(f"{r.network} on {r.device}, {r.precision}, {r.rung}" for r in records)

    @property
    def is_result(self) -> bool:
        """Whether the node made its objects and passed them, whatever became of them on their way."""
        return self.result is not None


def ask(settings: NodeSettings, datasets: Sequence[Dataset], limit_s: float) -> Answer:
    """Send a CT to the running node and wait for its answer.

    Args:
        settings: of the node; its port, database and shared directory are used.
        datasets: instances of one series with their file meta information; their UIDs are changed.
        limit_s: how long to wait.

    Raises:
        PortTestRefused: the node cannot be reached, or does not take what it is sent.
        NoAnswerInTime: it has not come to an end.
        NeverStarted: no node has worked with this database yet.
    """
    series = new_series_uid(settings.shared_dir)
    with TemporaryDirectory(prefix="perfnode-") as scratch:
        paths = []
        for number, dataset in enumerate(as_series(datasets, series)):
            paths.append(Path(scratch) / f"{number:05d}.dcm")
            dataset.save_as(paths[-1], enforce_file_format=True)
        try:
            send(paths, own_port(settings))
        except (DeliveryError, OSError) as fault:
            raise PortTestRefused(getattr(fault, "code", type(fault).__name__)) from fault
    return _awaited(settings, series, limit_s)


def series_in(files: Sequence[Path]) -> list[Dataset]:
    """The instances of one series, read whole."""
    return [dcmread(path) for path in files]


def own_port(settings: NodeSettings) -> Peer:
    """The node as a peer sees it; called under its own AE title."""
    receiver = settings.receiver
    host = own_host(receiver.host)
    tls = receiver.tls and replace(receiver.tls, check_host_name=False)
    address = AeAddress(receiver.ae_title, f"[{host}]" if ":" in host else host, receiver.port)
    return Peer("self", address, receiver.ae_title, _SEND_TIMEOUT_S, _SEND_TIMEOUT_S, _SEND_TIMEOUT_S, tls)


def _awaited(settings: NodeSettings, series: str, limit_s: float) -> Answer:
    began = time.monotonic()
    folder: CaseFolder | None = None
    others: set[str] = set()
    with JobBook(settings.database, settings.cases()) as book:
        while (waited_s := time.monotonic() - began) < limit_s:
            folder = folder or _folder_of(settings, series, others)
            with suppress(UnknownCase):  # its files are there a moment before its first stage is queued
                if folder is not None and (case := book.case(folder.case_id)).is_finished:
                    return _answer(settings, folder, case, waited_s)
            time.sleep(_LOOK_S)
    raise NoAnswerInTime(limit_s)


def _folder_of(settings: NodeSettings, series: str, others: set[str]) -> CaseFolder | None:
    """The case of that series; those that were looked at before are among `others`."""
    for case in settings.cases().all():
        if case.case_id not in others:
            others.add(case.case_id)
            if case.record().series_instance_uid == series:
                return case
    return None


def _answer(settings: NodeSettings, folder: CaseFolder, case: Case, took_s: float) -> Answer:
    if case.state is not CaseState.DELIVERED and case.stage not in (Stage.DELIVER, Stage.VERIFY):
        return Answer(case, None, {}, None, None, took_s)
    try:
        ct, result = read_ct(folder.ct), read_result(folder.result)
    except (OSError, ValueError, KeyError, TypeError, BadZipFile):  # its files were spoilt on their way to us
        return Answer(case, None, {}, None, None, took_s)
    made_by = MadeBy.of(result, settings.settings_digest())
    return Answer(case, made_by, figures_of(ct, result), ct, result, took_s)
