"""What the model in shadow made of each case, kept as one small file per case beside the models.

    perfusion-models/shadow/<first digits of the candidate>/<case id>.json

It outlives the case. It holds no identity and no image: the id of a case says nothing to whoever has only that.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from dicom_node.durable_files import make_directory, write_json
from inference.map_comparison import MapComparison, MappedLungs, compare_maps
from inference.model_card import ModelIdentity

if TYPE_CHECKING:  # what a result holds, not the engine and what it loads
    from inference.engine import PerfusionResult

FOLDER = "shadow"
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class CaseComparison:
    """One case."""

    case_id: str
    at: str
    """UTC, ISO 8601."""
    candidate: str
    """Name, version and first digits of the digest, as objects name it."""
    in_use: str
    """The same of the model that made the map; empty where the candidate did not get so far."""
    run_s: float = 0.0
    """How long the candidate took for its map and regions."""
    figures: MapComparison | None = None
    """None where the candidate gave no map."""
    code: str = ""
    """Why it gave none."""
    message: str = ""

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Self:
        """From plain values, as `dataclasses.asdict` gives them."""
        figures = entry["figures"]
        return cls(**{**entry, "figures": None if figures is None else MapComparison(**figures)})


@dataclass(frozen=True, slots=True)
class Comparisons:
    """All comparisons of one candidate.

    Args:
        registry: folder of the model registry.
        content_sha256: digest of the candidate.
    """

    registry: Path
    content_sha256: str

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return self.registry / FOLDER / self.content_sha256[:_DIGITS]

    def keep(self, comparison: CaseComparison) -> None:
        """Keep what is known of a case; what was known before of it goes."""
        make_directory(self.folder)
        write_json(self.folder / f"{comparison.case_id}.json", asdict(comparison))

    def all(self) -> Iterator[CaseComparison]:
        """Every case, in order of time."""
        read = (CaseComparison.of(json.loads(path.read_text())) for path in self.folder.glob("*.json"))
        yield from sorted(read, key=lambda entry: (entry.at, entry.case_id))


def compared(case_id: str, candidate: "PerfusionResult", in_use: "PerfusionResult", run_s: float) -> CaseComparison:
    """Compare two results of one case.

    Args:
        case_id: of the case.
        candidate: what the model in shadow made.
        in_use: what the model in use made.
        run_s: how long the candidate took.

    Raises:
        ValueError: they are not of the same lungs, as when the case was processed anew meanwhile.
    """
    ours, theirs = (MappedLungs(r.perfusion, r.regions, r.lobar) for r in (candidate, in_use))
    makers = candidate.perfusion.model.label(), in_use.perfusion.model.label()
    return CaseComparison(case_id, _now(), *makers, run_s=run_s, figures=compare_maps(ours, theirs))


def not_compared(case_id: str, candidate: ModelIdentity, code: str, message: str) -> CaseComparison:
    """A case of which the candidate gave no map."""
    return CaseComparison(case_id, _now(), candidate.label(), "", code=code, message=message)


def remove_old(registry: Path, before_s: float) -> int:
    """Forget comparisons that were made before a Unix time; how many."""
    old = [path for path in (registry / FOLDER).glob("*/*.json") if path.stat().st_mtime < before_s]
    for path in old:
        path.unlink()
    return len(old)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
