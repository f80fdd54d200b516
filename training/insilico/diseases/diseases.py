"""What is wrong with one patient: findings drawn by the table of prevalences, each with place and severity.

The order of the answer is the order in which the diseases are painted: what thins the lung first, what fills it later,
fluid last.
"""

import math
from collections.abc import Mapping

import numpy as np

from inference.anatomy import Lobe, Side
from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.cohort_name import CohortName
from training.insilico.diseases.atelectasis import DependentAtelectasis, LobarCollapse
from training.insilico.diseases.consolidation import Consolidation
from training.insilico.diseases.disease import Disease
from training.insilico.diseases.effusion import Effusion
from training.insilico.diseases.embolism import draw_embolism
from training.insilico.diseases.emphysema import CentrilobularEmphysema, PanlobularEmphysema, ParaseptalEmphysema
from training.insilico.diseases.fibrosis import Fibrosis
from training.insilico.diseases.prevalence import (
    BESIDES,
    CENTRAL,
    COLLAPSE,
    EMPHYSEMA_KINDS,
    GRADES,
    LEADING,
    LOBAR,
    PARASEPTAL_TOO,
    PNEUMONIA_LOBES,
    SEVERITY,
    TUMOUR_LOBES,
    WITH_EMPHYSEMA,
    EmphysemaKind,
    Finding,
)
from training.insilico.diseases.radiation import RadiationChange
from training.insilico.diseases.tumour import Tumour, pressed_arteries
from training.insilico.diseases.vasoconstriction import Vasoconstriction
from training.insilico.draws import Draws
from training.insilico.people.body import Body
from training.insilico.people.person import Person

ORDER = (
    Finding.EMPHYSEMA,
    Finding.FIBROSIS,
    Finding.VASOCONSTRICTION,
    Finding.RADIATION,
    Finding.CONSOLIDATION,
    Finding.ATELECTASIS,
    Finding.TUMOUR,
    Finding.EFFUSION,
    Finding.EMBOLISM,
)
MOST_LUNG = 0.6
"""A peripheral tumour begins where at least so much of its ball is lung, if a few tries find such a place; ours."""
HILAR_SHARE = 0.03
"""The share of a lobe next to the hilum in which central tumours begin; ours."""


def draw_diseases(
    cohort: CohortName, draws: Draws, person: Person, body: Body, tree: ArterialTree
) -> tuple[Disease, ...]:
    """The diseases of one patient, in the order in which they have to be painted; none in some.

    Args:
        cohort: whose table is used.
        draws: of this patient.
        person: whose age makes emphysema besides another disease more or less likely.
        body: the healthy body.
        tree: its arteries.
    """
    draws = draws.of("diseases")
    leading, chosen = _findings(cohort, draws, person)
    collapse = _collapsed(cohort, draws, person, body)
    found: list[Disease] = []
    for finding in ORDER:
        if finding is Finding.ATELECTASIS and collapse is not None:
            found.append(collapse)
        elif finding in chosen:
            place = "leading" if finding is leading else "besides"
            found.extend(_drawn(finding, place, draws.of(str(finding)), body, tree))
    return tuple(found)


def shaped_by_disease(cohort: CohortName, draws: Draws, person: Person, body: Body) -> Body:
    """The body after what happened long before the scan: a collapsed lobe has shrunk and its neighbours have expanded.

    To be asked before arteries grow, with the draws that `draw_diseases` gets; most bodies stay as they are.
    """
    collapse = _collapsed(cohort, draws.of("diseases"), person, body)
    return body if collapse is None else collapse.shrunk(body)


def findings_besides(cohort: CohortName, leading: Finding, draws: Draws, age_years: float) -> tuple[Finding, ...]:
    """What a patient has besides the leading finding."""
    rates = {finding: rate.share for finding, rate in BESIDES[cohort].items() if finding is not leading}
    if leading is Finding.EMPHYSEMA:
        rates |= {finding: rate.share for finding, rate in WITH_EMPHYSEMA.items()}
    if leading is Finding.NEARLY_NORMAL:
        return ()
    if Finding.EMPHYSEMA in rates:
        # Emphysema comes with years of smoke: ours, 1 at 65 years.
        rates[Finding.EMPHYSEMA] *= min(max(age_years / 65.0, 0.4), 1.3)
    return tuple(finding for finding, share in rates.items() if draws.chance(f"besides {finding}", share))


def _findings(cohort: CohortName, draws: Draws, person: Person) -> tuple[Finding, frozenset[Finding]]:
    """The leading finding, and all."""
    leading = draws.choice("leading", {finding: rate.share for finding, rate in LEADING[cohort].items()})
    return leading, frozenset({leading, *findings_besides(cohort, leading, draws, person.age_years)})


def _collapsed(cohort: CohortName, draws: Draws, person: Person, body: Body) -> LobarCollapse | None:
    """The lobe that has collapsed, by itself or because a tumour has closed its bronchus."""
    leading, _ = _findings(cohort, draws, person)
    if leading is Finding.ATELECTASIS:
        own = draws.of(str(Finding.ATELECTASIS))
        if own.chance("lobar", LOBAR.share):
            return _collapse(own, body, own.choice("lobe", _present(body, PNEUMONIA_LOBES)))
    if leading is Finding.TUMOUR:
        own = draws.of(str(Finding.TUMOUR))
        central, grade, lobe = _kind_of_tumour(own, body)
        if central and grade >= 2 and own.chance("collapse", COLLAPSE.share):
            return _collapse(own, body, lobe)
    return None


def _drawn(finding: Finding, place: str, draws: Draws, body: Body, tree: ArterialTree) -> tuple[Disease, ...]:
    match finding:
        case Finding.EMPHYSEMA:
            return _emphysema(draws, place)
        case Finding.FIBROSIS:
            return (_fibrosis(draws, place),)
        case Finding.CONSOLIDATION:
            return _consolidation(draws, place, body)
        case Finding.ATELECTASIS:
            return (_atelectasis(draws),)
        case Finding.EFFUSION:
            return (_effusion(draws, place),)
        case Finding.TUMOUR:
            return (_tumour(draws, body, tree),)
        case Finding.RADIATION:
            return (_radiation(draws, body),)
        case Finding.VASOCONSTRICTION:
            return (_vasoconstriction(draws),)
        case Finding.EMBOLISM:
            return (draw_embolism(draws, tree),)
        case Finding.NEARLY_NORMAL:
            return ()


def _emphysema(draws: Draws, place: str) -> tuple[Disease, ...]:
    severity = SEVERITY["leading emphysema" if place == "leading" else "emphysema besides"].draw(draws, "extent")
    bullae = ParaseptalEmphysema(
        draws.whole("bullae", 8, 40), SEVERITY["bulla"].draw(draws, "bulla"), draws.of("paraseptal").name
    )
    match draws.choice("kind", EMPHYSEMA_KINDS):
        case EmphysemaKind.PARASEPTAL:
            return (bullae,)
        case EmphysemaKind.PANLOBULAR:
            return (PanlobularEmphysema(min(0.4 + 1.2 * severity, 0.9), draws.of("panlobular").name),)
        case EmphysemaKind.CENTRILOBULAR:
            spots = CentrilobularEmphysema(severity, draws.of("centrilobular").name)
            return (spots, bullae) if draws.chance("bullae too", PARASEPTAL_TOO.share) else (spots,)


def _fibrosis(draws: Draws, place: str) -> Fibrosis:
    extent = SEVERITY["leading fibrosis" if place == "leading" else "fibrosis besides"].draw(draws, "extent")
    return Fibrosis(
        extent, round(draws.between("honeycomb", 0.0, 0.5), 3), round(draws.between("bed", 0.15, 0.5), 3), draws.name
    )


def _consolidation(draws: Draws, place: str, body: Body) -> tuple[Disease, ...]:
    lobe = draws.choice("lobe", _present(body, PNEUMONIA_LOBES))
    share = SEVERITY["leading consolidation" if place == "leading" else "consolidation besides"].draw(draws, "share")
    centre = _somewhere(draws, body, lobe)
    return (Consolidation(lobe, share, centre, round(draws.between("bed", 0.15, 0.5), 3), draws.name),)


def _atelectasis(draws: Draws) -> DependentAtelectasis:
    rim = SEVERITY["dependent rim"].draw(draws, "rim")
    return DependentAtelectasis(rim, round(draws.between("bed", 0.3, 0.6), 3), draws.name)


def _collapse(draws: Draws, body: Body, lobe: Lobe) -> LobarCollapse:
    left, bed = SEVERITY["collapsed volume"].draw(draws, "collapsed volume"), round(draws.between("bed", 0.1, 0.3), 3)
    return LobarCollapse(lobe, left, _hilum(body, lobe.side), bed, draws.of("collapse").name)


def _effusion(draws: Draws, place: str) -> Effusion:
    side = Side.RIGHT if draws.chance("right", 0.6) else Side.LEFT
    share = SEVERITY["leading effusion" if place == "leading" else "effusion besides"].draw(draws, "share")
    pressed = round(draws.between("pressed", 4.0, 8.0 + 60.0 * share), 1)
    return Effusion(side, share, pressed, round(draws.between("bed", 0.1, 0.4), 3), draws.name)


def _vasoconstriction(draws: Draws) -> Vasoconstriction:
    share = SEVERITY["vasoconstriction"].draw(draws, "share")
    patch = round(draws.between("patch", 30.0, 60.0), 1)
    return Vasoconstriction(share, patch, round(draws.between("bed", 0.2, 0.6), 3), draws.name)


def _radiation(draws: Draws, body: Body) -> RadiationChange:
    lobe = draws.choice("lobe", _present(body, TUMOUR_LOBES))
    return RadiationChange(
        centre_mm=_near_hilum(draws, body, lobe, 0.25),
        radius_mm=round(draws.between("radius", 22.0, 42.0), 1),
        dose_gy=SEVERITY["dose"].draw(draws, "dose"),
        loss_per_gy=SEVERITY["loss per gray"].draw(draws, "loss per gray"),
        shown=round(draws.between("shown", 0.5, 1.0), 3),
        scar=round(draws.between("scar", 0.3, 1.0), 3) if draws.chance("scarred", 0.6) else 0.0,
        seed=draws.name,
    )


def _kind_of_tumour(draws: Draws, body: Body) -> tuple[bool, int, Lobe]:
    """Whether it is central, the grade of its defect, and its lobe."""
    central = draws.chance("central", CENTRAL.share)
    return central, draws.choice("grade", GRADES[central]), draws.choice("lobe", _present(body, TUMOUR_LOBES))


def _tumour(draws: Draws, body: Body, tree: ArterialTree) -> Tumour:
    central, grade, lobe = _kind_of_tumour(draws, body)
    size = "central tumour" if central else "tumour without defect" if grade == 0 else "peripheral tumour"
    radius = 0.5 * SEVERITY[size].draw(draws, "diameter")
    centre = _near_hilum(draws, body, lobe, HILAR_SHARE) if central else _inside(draws, body, lobe, radius)
    arteries = pressed_arteries(draws, tree, centre_mm=centre, radius_mm=radius, lobe=lobe, grade=grade)
    lumen = draws.between("lumen", 0.0, 0.30 if grade == 2 else 0.26)
    return Tumour(
        centre_mm=centre,
        radius_mm=radius,
        central=central,
        grade=grade,
        arteries=arteries,
        lumen=round(lumen, 3) if arteries else 1.0,
        spicules=0 if central else draws.whole("spicules", 0, 14),
        seed=draws.name,
    )


def _present(body: Body, weights: Mapping[Lobe, float]) -> dict[Lobe, float]:
    """The lobes that the body has."""
    there = set(np.unique(body.lobes).tolist())
    return {lobe: weight for lobe, weight in weights.items() if int(lobe) in there}


def _somewhere(draws: Draws, body: Body, lobe: Lobe) -> tuple[float, float, float]:
    """The LPS position of any voxel of a lobe."""
    voxels = np.flatnonzero(body.lobes == lobe)
    return _position(body, int(voxels[int(draws.between("place", 0.0, len(voxels)))]))


def _inside(draws: Draws, body: Body, lobe: Lobe, radius_mm: float) -> tuple[float, float, float]:
    """The LPS position of a voxel of a lobe with lung around it, not in a recess that has no room for a tumour."""
    places = [_somewhere(draws.of(f"try {k}"), body, lobe) for k in range(8)]
    shares = [_share_of_lung(body, place, radius_mm) for place in places]
    return next(
        (p for p, share in zip(places, shares, strict=True) if share >= MOST_LUNG), places[int(np.argmax(shares))]
    )


def _share_of_lung(body: Body, centre_mm: tuple[float, float, float], radius_mm: float) -> float:
    """Of the ball around a place."""
    reach = math.ceil(radius_mm / min(body.grid.spacing_mm))
    offsets = np.indices((2 * reach + 1,) * 3).reshape(3, -1).T - reach
    offsets = offsets[np.linalg.norm(offsets * np.array(body.grid.spacing_mm), axis=1) <= radius_mm]
    at = np.rint(body.grid.to_index(np.array(centre_mm))).astype(np.intp) + offsets
    at = at[np.all((at >= 0) & (at < body.grid.shape), axis=1)]
    return float(np.count_nonzero(body.lobes[tuple(at.T)])) / len(offsets)


def _near_hilum(draws: Draws, body: Body, lobe: Lobe, share: float) -> tuple[float, float, float]:
    """The LPS position of any voxel of the share of a lobe that is next to the hilum."""
    voxels = np.flatnonzero(body.lobes == lobe)
    index = np.column_stack(np.unravel_index(voxels, body.grid.shape)).astype(float)
    way = np.linalg.norm(body.grid.to_patient_mm(index) - np.array(_hilum(body, lobe.side)), axis=1)
    nth = int(draws.between("place", 0.0, share * len(voxels)))
    return _position(body, int(voxels[np.argpartition(way, nth)[nth]]))


def _hilum(body: Body, side: Side) -> tuple[float, float, float]:
    x, y, z = body.hilum_mm[0 if side is Side.RIGHT else 1]
    return round(float(x), 2), round(float(y), 2), round(float(z), 2)


def _position(body: Body, voxel: int) -> tuple[float, float, float]:
    index = np.array(np.unravel_index(voxel, body.grid.shape), dtype=float)
    x, y, z = body.grid.to_patient_mm(index)
    return round(float(x), 2), round(float(y), 2), round(float(z), 2)
