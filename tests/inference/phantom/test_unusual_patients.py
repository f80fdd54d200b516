"""What comes out for unusual patients, as `docs/unusual-patients.md` states it: a right result, a flag, or no result.

Each patient is the standard digital one with one condition, on slices of 5 mm, through the embedded engine (lung and
lobes without weights) and every check of CT and lobes under the limits we ship. The learned engines need weights that
are not here, so nothing can be stated for their lobes; the checks are the same for them.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from inference.anatomy import Lobe, Side
from inference.atlas.atlas_lobes import AtlasLobes
from inference.geometry import Grid, Reorientation
from inference.phantom.build import ThoraxBuild
from inference.phantom.cases import UNUSUAL
from inference.phantom.conditions import changed
from inference.phantom.lesions import Collapse
from inference.phantom.surgery import Lobectomy
from inference.phantom.thorax import DigitalThorax, draw_thorax
from inference.quality.checks import check_ct_and_lobes
from inference.quality.findings import Findings, Severity
from inference.volumes import CtVolume, LobeMap, SeriesReference

SPACING_MM = (5.0, 4.0, 4.0)
THIN_MM = (3.0, 3.0, 3.0)
HORIZONTAL = "HORIZONTAL_FISSURE_ABSENT"
PAGE = Path(__file__).parents[3] / "docs/unusual-patients.md"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is promised for one patient; a limit of 0 promises nothing."""

    lungs: float
    """Least Dice of each lung that the patient has."""
    lobes: float
    """Least Dice of each lobe that the patient has."""
    verdict: Severity | None
    """Worst finding, None if there is none."""
    codes: tuple[str, ...] = ()
    """Findings that must be among those made."""
    always: bool = True
    """Whether `make test` reads it; the others repeat one that is read, and wait for `make unusual-patients`."""


NONE, NOTE, FLAG, REJECT = None, Severity.NOTE, Severity.FLAG, Severity.REJECT
OUTCOMES = {
    "nodules": Outcome(0.98, 0.95, NONE),
    "mass on the chest wall": Outcome(0.98, 0.93, NONE),
    "mass on the mediastinum": Outcome(0.96, 0.90, FLAG, ("RIGHT_MASS_AT_MEDIASTINUM",), always=False),
    "consolidated RLL": Outcome(0.60, 0.0, FLAG, ("PLEURAL_FLUID", "RIGHT_LUNG_SHARE")),
    "consolidated RUL": Outcome(0.75, 0.0, FLAG, ("RIGHT_LUNG_OPAQUE",), always=False),
    "collapsed LLL": Outcome(0.85, 0.0, FLAG, ("FISSURE_ABSENT",), always=False),
    "collapsed RUL": Outcome(0.90, 0.0, FLAG, ("HORIZONTAL_FISSURE_ABSENT",)),
    "effusion": Outcome(0.98, 0.90, FLAG, ("PLEURAL_FLUID",), always=False),
    "effusion, prone": Outcome(0.98, 0.75, FLAG, ("PLEURAL_FLUID", "POSITION_PRONE")),
    "pneumothorax": Outcome(0.88, 0.75, FLAG, ("PURE_GAS",), always=False),
    "left lung taken out": Outcome(0.98, 0.93, FLAG, ("LUNG_MISSING",)),
    "right lung taken out": Outcome(0.98, 0.93, FLAG, ("LUNG_MISSING",), always=False),
    "RUL taken out": Outcome(0.98, 0.0, FLAG, ("HORIZONTAL_FISSURE_ABSENT",), always=False),
    "LLL taken out": Outcome(0.98, 0.0, FLAG, ("FISSURE_ABSENT",)),
    "child": Outcome(0.96, 0.80, FLAG, ("LUNG_VOLUME", "SMALL_PATIENT")),
    "emphysema": Outcome(0.98, 0.93, FLAG, ("PURE_GAS",)),
    "contrast": Outcome(0.98, 0.93, NOTE, ("CONTRAST_MEDIUM",)),
    "pacemaker": Outcome(0.98, 0.93, FLAG, ("METAL",)),
    "screws": Outcome(0.98, 0.93, FLAG, ("METAL",), always=False),
    "stomach gas": Outcome(0.95, 0.90, FLAG, ("PURE_GAS",)),
    "situs inversus": Outcome(0.98, 0.0, REJECT, ("MIRRORED",)),
    "mirrored picture": Outcome(0.0, 0.0, REJECT, ("MIRRORED",)),
    "prone": Outcome(0.98, 0.93, FLAG, ("POSITION_PRONE",), always=False),
}
"""Limits lie a little below what was measured on 2026-11-26."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One patient and what the node makes of it."""

    thorax: DigitalThorax
    found: LobeMap
    findings: Findings

    @property
    def codes(self) -> set[str]:
        """Of all findings."""
        return {finding.code for finding in self.findings}


@cache
def seen(name: str) -> Seen:
    """A patient by name, through the embedded engine and the checks; once for all tests."""
    conditions = UNUSUAL.get(name, ())
    grid = changed(ThoraxBuild(), conditions).field_of_view(SPACING_MM)
    thorax = draw_thorax(grid, conditions=conditions)
    return Seen(thorax, *read(thorax.ct.hu.tobytes(), grid))


@cache
def read(hu: bytes, grid: Grid) -> tuple[LobeMap, Findings]:
    """What the node makes of a picture; equal pictures are read once, which is the point of a mirrored one."""
    ct = ct_of(np.frombuffer(hu, np.float32).reshape(grid.shape), grid)
    found = AtlasLobes().segment(ct)
    return found, check_ct_and_lobes(ct, found)


def ct_of(hu: np.ndarray, grid: Grid) -> CtVolume:
    uids = tuple(f"1.2.9.{k}" for k in range(grid.shape[0]))
    return CtVolume(hu, grid, SeriesReference("1.2.7", "1.2.8", grid.frame_of_reference_uid, uids))


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    return 2.0 * np.count_nonzero(found & truth) / max(np.count_nonzero(found) + np.count_nonzero(truth), 1)


def row(name: str, outcome: Outcome) -> str:
    """The beginning of the line of the page that states an outcome."""
    limits = " | ".join(f"{limit:.2f}" if limit else "no promise" for limit in (outcome.lungs, outcome.lobes))
    codes = ", ".join(f"`{code}`" for code in outcome.codes) or "none"
    return f"| {name} | {limits} | {outcome.verdict or 'nothing'} | {codes} |"


def test_there_is_an_outcome_for_every_patient_and_the_page_states_it() -> None:
    assert list(OUTCOMES) == list(UNUSUAL)
    page = PAGE.read_text(encoding="utf-8")
    assert [r for r in (row(name, outcome) for name, outcome in OUTCOMES.items()) if r not in page] == []


def patients(*names: str) -> list[object]:
    """Names as parameters, those that repeat another patient marked slow."""
    return [pytest.param(name, marks=() if OUTCOMES[name].always else pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", patients(*OUTCOMES))
def test_the_outcome_is_the_stated_one(name: str) -> None:
    outcome, case = OUTCOMES[name], seen(name)
    worst = max((finding.severity for finding in case.findings), key=list(Severity).index, default=None)
    assert worst is outcome.verdict, case.findings
    assert set(outcome.codes) <= case.codes
    for side in Side:
        truth = case.thorax.lobes.lung(side)
        if truth.any():
            assert dice(case.found.lung(side), truth) >= outcome.lungs, side
    for lobe in case.thorax.existing:
        assert dice(case.found.mask(lobe), case.thorax.lobes.mask(lobe)) >= outcome.lobes, lobe.name


def test_the_healthy_patient_gives_no_finding_at_all() -> None:
    assert seen("healthy").findings == ()
    assert seen("healthy").thorax.existing == tuple(Lobe)


@pytest.mark.parametrize("name", patients("left lung taken out", "right lung taken out"))
def test_a_lung_that_was_taken_out_is_reported_and_not_invented(name: str) -> None:
    case = seen(name)
    side = Side.LEFT if name.startswith("left") else Side.RIGHT
    assert not case.found.lung(side).any()
    assert [lobe for lobe in Lobe if case.found.mask(lobe).any()] == [lobe for lobe in Lobe if lobe.side is not side]
    (finding,) = (f for f in case.findings if f.code == "LUNG_MISSING")
    assert side.name.lower() in finding.sentence


def invented() -> list[object]:
    """Every lobe taken out and collapsed, those that repeat another one marked slow."""
    always = {Lobectomy(Lobe.RML), Collapse(Lobe.RLL)}
    return [
        pytest.param(condition, marks=() if condition in always else pytest.mark.slow, id=str(condition))
        for condition in (kind(lobe) for kind in (Lobectomy, Collapse) for lobe in Lobe)
    ]


@pytest.mark.parametrize("condition", invented())
def test_a_lobe_that_is_invented_is_a_flag_on_slices_that_show_fissures(condition: Lobectomy | Collapse) -> None:
    """The atlas draws five lobes into any lungs; one that is an invention has a border that nobody saw."""
    grid = changed(ThoraxBuild(), [condition]).field_of_view(THIN_MM)
    thorax = draw_thorax(grid, conditions=[condition])
    found, findings = read(thorax.ct.hu.tobytes(), grid)
    assert all(found.mask(lobe).any() for lobe in Lobe)
    said = [f for f in findings if f.severity is Severity.FLAG and f.code in ("FISSURE_ABSENT", HORIZONTAL)]
    assert any(condition.lobe.name in finding.sentence for finding in said), findings


@pytest.mark.parametrize("name", patients("effusion", "effusion, prone"))
def test_fluid_is_no_lung_and_its_volume_is_told(name: str) -> None:
    case = seen(name)
    fluid = case.thorax.lesions[UNUSUAL[name][-1]]
    assert not case.found.lungs[fluid].mean() > 0.05
    volume_ml = np.count_nonzero(fluid) * case.thorax.ct.grid.voxel_volume_ml
    (finding,) = (finding for finding in case.findings if finding.code == "PLEURAL_FLUID")
    assert "right lung" in finding.sentence
    assert finding.measured == pytest.approx(volume_ml, rel=0.3)


@pytest.mark.parametrize(("name", "least"), [("nodules", 0.8), ("mass on the chest wall", 0.6)])
def test_tumours_inside_and_at_the_ribs_belong_to_the_lung(name: str, least: float) -> None:
    case = seen(name)
    assert case.found.lungs[case.thorax.lesions[UNUSUAL[name][0]]].mean() > least


def test_feet_first_is_the_same_patient_and_is_noted() -> None:
    case = seen("effusion, prone")
    encode = Reorientation((0, 1, 2), (True, True, False))
    found, findings = read(encode.apply(case.thorax.ct.hu).tobytes(), encode.grid(case.thorax.ct.grid))
    assert np.array_equal(encode.undo(found.labels), case.found.labels)
    assert {"POSITION_PRONE", "POSITION_FEET_FIRST"} <= {finding.code for finding in findings}
