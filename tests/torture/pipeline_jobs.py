"""The jobs of a torture run: tiny CT series with a plan in them, and what each of them may end as."""

import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dicom_node.errors import DeliveryError
from dicom_node.jobs.attempts import CaseState
from dicom_node.network.addresses import AeAddress
from dicom_node.network.delivery import Destination, send
from tests.small_ct import small_ct, write_file
from tests.torture.stub_stage import Plan, uid_of

STAGE_ATTEMPTS: Final = 4
"""As the site file of the run says."""
_SLICES: Final = 2


@dataclass(frozen=True, slots=True)
class Ending:
    """How a case may end."""

    state: CaseState
    code: str = ""


DELIVERED: Final = Ending(CaseState.DELIVERED)


@dataclass(frozen=True, slots=True)
class Job:
    """One series that a scanner sends, to one host."""

    plan: Plan
    ending: Ending
    paths: tuple[Path, ...]

    @property
    def number(self) -> int:
        """From 0."""
        return self.plan.job


@dataclass(frozen=True, slots=True)
class Kind:
    """What goes wrong with a job, how it ends, and how many in 100 are so."""

    faults: dict[str, list[str]]
    ending: Ending
    in_100: int


KINDS: Final = (
    Kind({"read": ["exit"]}, DELIVERED, 3),
    Kind({"segment": ["kill"]}, DELIVERED, 3),
    Kind({"perfuse": ["segv"]}, DELIVERED, 3),
    Kind({"perfuse": ["memory:48"]}, DELIVERED, 3),
    Kind({"encode": ["exit", "kill"]}, DELIVERED, 3),
    Kind({"check": ["exit"]}, DELIVERED, 2),
    Kind({"segment": ["sleep:3.5"], "encode": ["sleep:3"]}, DELIVERED, 6),
    Kind({"perfuse": ["hang"]}, DELIVERED, 2),
    Kind({"read": ["reject:BAD_SERIES"]}, Ending(CaseState.REJECTED, "BAD_SERIES"), 3),
    Kind({"segment": ["give-up:NO_MODEL"]}, Ending(CaseState.FAILED, "NO_MODEL"), 3),
    Kind({"encode": ["wrong"]}, Ending(CaseState.FAILED, "CHECK_FAILED"), 3),
    Kind({"perfuse": ["exit", "always"]}, Ending(CaseState.FAILED, "STAGE_CRASHED"), 3),
)
"""The rest, two thirds, meets only what happens to all."""


def make_jobs(count: int, folder: Path, chance: random.Random, *, work: dict[str, str] | None = None) -> list[Job]:
    """So many jobs, their slices as files; some with planned faults, every kind at least once where there is room."""
    ledger = folder / "ledger"
    ledger.mkdir(parents=True, exist_ok=True)
    sure = list(KINDS) if count >= 3 * len(KINDS) else []
    odds = [kind.in_100 / 100 for kind in KINDS]
    plain = Kind({}, DELIVERED, 0)
    kinds = sure + chance.choices([*KINDS, plain], [*odds, 1 - sum(odds)], k=count - len(sure))
    chance.shuffle(kinds)
    return [_job(number, kind, folder, ledger, work or {}) for number, kind in enumerate(kinds)]


def plain_jobs(count: int, folder: Path, *, work: dict[str, str] | None = None) -> list[Job]:
    """Jobs in which nothing goes wrong by plan."""
    ledger = folder / "ledger"
    ledger.mkdir(parents=True, exist_ok=True)
    return [_job(number, Kind({}, DELIVERED, 0), folder, ledger, work or {}) for number in range(count)]


def _job(number: int, kind: Kind, folder: Path, ledger: Path, work: dict[str, str]) -> Job:
    study, series = uid_of(str(folder), str(number), "study"), uid_of(str(folder), str(number), "series")
    plan = Plan(number, str(ledger), study, series, work, kind.faults)
    into = folder / "scanner" / f"{number:05d}"
    into.mkdir(parents=True)
    paths = []
    for k in range(1, _SLICES + 1):
        dataset = small_ct(k, series=series)
        dataset.SOPInstanceUID = uid_of(series, str(k))
        dataset.StudyInstanceUID = study
        dataset.PatientID = f"JOB{number:05d}"
        dataset.ImageComments = plan.as_text()
        paths.append(write_file(into, dataset))
    return Job(plan, kind.ending, tuple(paths))


def scan(job: Job, address: AeAddress) -> bool:
    """Send a job once, as a scanner; whether every slice was taken."""
    with suppress(DeliveryError):
        send(job.paths, Destination("node", address, calling_ae_title="SCANNER"))
        return True
    return False


def planned(jobs: Sequence[Job]) -> dict[Ending, int]:
    """How many jobs are to end how."""
    counts: dict[Ending, int] = {}
    for job in jobs:
        counts[job.ending] = counts.get(job.ending, 0) + 1
    return counts
