"""Where the network of a stage stands on its ladder (`inference.execution`), as a file of the case.

    ladder-<stage>.json   run       which run of the case this is about; a person's new try starts at the top again
                          now       the rung of the last try
                          left      the rungs below it that would change anything
                          start     the rung that the next attempt begins on, and
                          why       the code of the fault that led there
                          descents  how many attempts ended with a step down

The child says before each try where it is. When it is killed for memory, it is the parent that sets `start`.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from dicom_node.durable_files import write_json
from dicom_node.jobs.cases import CaseFolder
from inference.execution import Descent, Rung


@dataclass(frozen=True, slots=True)
class LadderFile:
    """Where a stage stands."""

    run: int = 0
    now: str = ""
    """Empty until a network has run."""
    left: tuple[str, ...] = ()
    start: str = Rung.CONFIGURED.value
    why: str = ""
    descents: int = 0

    @property
    def is_used_up(self) -> bool:
        """Whether a network has run on its last rung."""
        return bool(self.now) and not self.left

    @classmethod
    def read(cls, case: CaseFolder, stage: str) -> "LadderFile":
        """What is known of a stage; the top of the ladder where nothing is."""
        try:
            facts = json.loads(_path(case, stage).read_text())
        except FileNotFoundError:
            return cls()
        return cls(**{**facts, "left": tuple(facts["left"])})

    def write(self, case: CaseFolder, stage: str) -> None:
        """Keep it durably."""
        write_json(_path(case, stage), asdict(self))

    def one_down(self, why: str) -> "LadderFile":
        """For an attempt that begins one rung below the last try; the same when nothing is left.

        An attempt that is looked at twice, because the node was killed in between, goes down once.
        """
        if not self.left or self.start == self.left[0]:
            return self
        return replace(self, start=self.left[0], why=why, descents=self.descents + 1)


def begin(case: CaseFolder, stage: str, run: int) -> LadderFile:
    """What an attempt starts from: what is known of its run or, in a new one, the top."""
    known = LadderFile.read(case, stage)
    if known.run != run:
        known = LadderFile(run)
        known.write(case, stage)
    return known


def descent_of(case: CaseFolder, stage: str) -> Descent:
    """How the network of a stage is to run; where it is goes into the file."""
    known = LadderFile.read(case, stage)

    def tell(now: Rung, left: tuple[Rung, ...]) -> None:
        replace(known, now=now.value, left=tuple(rung.value for rung in left)).write(case, stage)

    return Descent(Rung(known.start), known.why, tell)


def _path(case: CaseFolder, stage: str) -> Path:
    return case.path / f"ladder-{stage}.json"
