"""From the spool to cases: which series are complete, and what becomes of them.

DICOM has no "end of series". A series is taken as complete when the association that brought it has ended by an
A-RELEASE and nothing came for the quiet period. A series whose last association was cut off stays in the spool until
its sender tries again: half a lung is never processed because a cable was pulled.

What came before counts: slices that arrive after a series was taken make a new case of old and new slices together.
The same series sent again makes no new case; a finished one is tried or delivered again, with the same UIDs.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import structlog
from pydicom import dcmread

from dicom_node.cases import CaseFolder, CaseRecord, CaseStore, case_id_of
from dicom_node.durable_files import make_directory, sync_directory
from dicom_node.errors import SeriesNotComplete
from dicom_node.jobs import JobBook
from dicom_node.reception.spool import Spool, SpooledSeries, content_digest

_DISCARDED = ".again-"


@dataclass(frozen=True, slots=True)
class Intake:
    """Takes complete series out of the spool and hands them to the engine."""

    spool: Spool
    cases: CaseStore
    jobs: JobBook
    quiet_period_s: float

    def recover(self) -> None:
        """After a start: finish what a killed node had begun, and hand over every case it had not handed over."""
        make_directory(self.cases.root)
        for leftover in self.cases.root.glob(f"{_DISCARDED}*"):
            shutil.rmtree(leftover)
        for received in sorted(self.cases.root.glob("*/received")):
            case = CaseFolder(received.parent)
            if not (case.path / "case.json").exists():
                self._register(case)
            self.jobs.submit(case.case_id)

    def take_complete(self) -> list[str]:
        """Make cases of all series that are complete now, and return their ids."""
        taken = []
        for series in self.spool.series():
            if series.is_complete and series.quiet_for_s >= self.quiet_period_s:
                try:
                    taken.append(self._take(series))
                except SeriesNotComplete:  # a slice came in this very moment
                    continue
        return taken

    def _take(self, series: SpooledSeries) -> str:
        log = structlog.get_logger().bind(series=series.key[:8])
        series_uid = _series_uid(series.instances[0])
        together = {path.name: path for path in (*self._earlier(series_uid), *series.instances)}
        case = self.cases.folder(case_id_of(series_uid, content_digest(tuple(together.values()))))
        if case.received.exists():
            log.info("series_came_again", case=case.case_id)
            again = self.cases.root / f"{_DISCARDED}{series.key}"
            self.spool.take(series, again)
            shutil.rmtree(again)
            self.jobs.retry(case.case_id)
        else:
            self.spool.take(series, case.received)
            self._register(case)
            self.jobs.start(case.case_id)
            log.info("case_opened", case=case.case_id, instances=len(together), new=len(series.instances))
        return case.case_id

    def _register(self, case: CaseFolder) -> None:
        """Complete a case folder that so far holds only what was just received."""
        series_uid = _series_uid(case.instances()[0])
        for path in self._earlier(series_uid):
            target = case.received / path.name
            if not target.exists():
                target.hardlink_to(path)
        sync_directory(case.received)
        instances = case.instances()
        senders = sorted({m.read_text() for m in case.received.glob("associations/*.closed")})
        digest = content_digest(tuple(instances))
        case.write_record(CaseRecord(case.case_id, series_uid, digest, len(instances), ",".join(senders)))

    def _earlier(self, series_uid: str) -> list[Path]:
        """Instances of the largest case there is of this series; cases of one series only ever grow."""
        cases = [(r.instances, c) for c in self.cases.all() if (r := c.record()).series_instance_uid == series_uid]
        return max(cases, key=lambda pair: pair[0])[1].instances() if cases else []


def _series_uid(path: Path) -> str:
    return str(dcmread(path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"]).SeriesInstanceUID)
