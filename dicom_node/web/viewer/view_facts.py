"""What the viewer has to know of a case before it draws: geometry, colours, and how far it may be trusted."""

from typing import Any, Final

import numpy as np
from pydantic import BaseModel, Field

from dicom_node.jobs.attempts import CaseState
from dicom_node.operations import CaseDetails
from dicom_node.pages.lung_views import COLOUR_MAP, MAP_RANGE_PERCENT
from dicom_node.web.viewer.patient_volumes import PatientCt, PatientResult
from dicom_node.web.viewer.volumes import LUNG_WINDOW_HU, VolumeName, coarse_steps
from inference.anatomy import Lobe
from inference.geometry import Grid
from inference.quality.findings import Severity
from inference.volumes import FunctionBasis, FunctionRule

MAP_OPACITY: Final = 0.6
"""Less than on the summary page: here vessels are looked for under the map, and a key takes it away."""
_NOT_RELEASED: Final = {
    CaseState.PROCESSING: "The case is not finished: this map may still change and is not released.",
    CaseState.HELD: "Held for a person: this map is not released.",
    CaseState.REJECTED: "The case was rejected: this map is not released.",
    CaseState.FAILED: "The case failed: this map is not released everywhere.",
    CaseState.CANCELLED: "The case was cancelled: this map is not released.",
    CaseState.DISCARDED: "Discarded: this map is not released.",
    CaseState.DRY_RUN: "Dry run: this map was sent nowhere.",
}
"""Delivering and delivered maps are released."""
_SEVERITIES: Final = tuple(Severity)
"""The gravest last."""


class GridFacts(BaseModel):
    """Where voxels are: index (slice to the head, row to the back, column to the left), positions in LPS mm."""

    shape: tuple[int, int, int]
    affine: list[list[float]] = Field(description="4x4, from (slice, row, column, 1) to (x, y, z, 1) in mm, LPS")

    @classmethod
    def of(cls, grid: Grid) -> "GridFacts":
        """The facts of a grid in patient axes."""
        return cls(shape=grid.shape, affine=grid.affine.tolist())


class WorstFinding(BaseModel):
    """The gravest of the findings of a result."""

    severity: Severity
    code: str
    sentence: str
    others: int = Field(description="how many findings there are besides")


class LobeName(BaseModel):
    """A label of the volume `lobes`."""

    label: int
    name: str
    tg263: str


class ResultFacts(BaseModel):
    """The result that is shown over the CT."""

    model: str
    caveat: str
    segmenter: str
    rule: str = Field(description="how the map was cut into high- and low-functional lung")
    worst: WorstFinding | None
    lung_first: tuple[int, int, int] = Field(description="index of the corner of the box around the lungs")
    lung_last: tuple[int, int, int]
    cuts: tuple[int, int, int] = Field(description="slice, row and column that show most lung")


class ViewFacts(BaseModel):
    """All that the viewer shows besides the volumes."""

    case_id: str
    state: CaseState
    qualification: str = "RESEARCH"
    not_released: str = Field(description="why the map must not be used yet; empty if it is released")
    grid: GridFacts
    is_coarse_needed: bool = Field(description="whether a coarse volume is much smaller than the whole one")
    result: ResultFacts | None = Field(description="absent while there is none: then only the CT can be shown")
    unit: str = "% of lung mean"
    map_range: tuple[float, float] = MAP_RANGE_PERCENT
    map_opacity: float = MAP_OPACITY
    colours: list[tuple[int, int, int]] = Field(description="256 colours over `map_range`, even steps")
    window_hu: tuple[float, float] = LUNG_WINDOW_HU
    lobes: list[LobeName]
    volumes: dict[VolumeName, str] = Field(description="address of each volume that there is")


def view_facts(details: CaseDetails, ct: PatientCt, result: PatientResult | None, root: str) -> ViewFacts:
    """What the viewer is told.

    Args:
        details: of the case.
        ct: its CT.
        result: None if it has none.
        root: address that names of volumes follow.
    """
    names = [name for name in VolumeName if result is not None or not name.is_of_result]
    return ViewFacts(
        case_id=details.case.case_id,
        state=details.case.state,
        not_released=_NOT_RELEASED.get(details.case.state, "") if result is not None else "",
        grid=GridFacts.of(ct.grid),
        is_coarse_needed=coarse_steps(ct.grid) != (1, 1, 1),
        result=None if result is None else _result_facts(details.result or {}, result),
        colours=shown_table(),
        lobes=[LobeName(label=lobe.value, name=lobe.name, tg263=lobe.tg263) for lobe in Lobe],
        volumes={name: f"{root}{name}.nii" for name in names},
    )


def shown_table() -> list[tuple[int, int, int]]:
    """The colours of the map from the least to the greatest value, at full opacity."""
    from matplotlib import colormaps

    table = np.rint(255.0 * colormaps[COLOUR_MAP](np.linspace(0.0, 1.0, 256))[:, :3]).astype(int)
    return [(red, green, blue) for red, green, blue in table.tolist()]


def _result_facts(facts: dict[str, Any], result: PatientResult) -> ResultFacts:
    z, y, x = result.lung_box
    return ResultFacts(
        model=_name(facts["model"]),
        caveat=facts["model"].get("caveat", ""),
        segmenter=_name(facts["segmenter"]),
        rule=_rule(facts["rule"]),
        worst=_worst(facts["findings"]),
        lung_first=(z.start, y.start, x.start),
        lung_last=(z.stop - 1, y.stop - 1, x.stop - 1),
        cuts=result.fullest,
    )


def _name(model: dict[str, Any]) -> str:
    return f"{model['name']} {model['version']}"


def _rule(facts: dict[str, Any]) -> str:
    return FunctionRule(**{**facts, "basis": FunctionBasis(facts["basis"])}).statement()


def _worst(findings: list[dict[str, Any]]) -> WorstFinding | None:
    if not findings:
        return None
    worst = max(findings, key=lambda finding: _SEVERITIES.index(Severity(finding["severity"])))
    return WorstFinding(
        severity=worst["severity"], code=worst["code"], sentence=worst["sentence"], others=len(findings) - 1
    )
