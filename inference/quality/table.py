"""Every check of CT, lobes and map as one table: what is measured, in which unit, where usual ends, and who says so.

Outside `usual` a finding has the severity of its row, outside `possible` the result is rejected. Rows that are `fixed`
say that a result is wrong as geometry or arithmetic: nobody may turn them off (`quality_policy`).

Ranges are wide on purpose. They catch a wrong body part, a truncated scan, exchanged sides or numbers that are not HU;
they do not diagnose. Rows without a source are ours: set with digital thoraxes and two real CTs, not tuned on patients.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from types import MappingProxyType

from inference.anatomy import Lobe
from inference.quality.findings import Severity

Range = tuple[float, float]
ANYTHING: Range = (-inf, inf)
OURS = "ours, untuned"


@dataclass(frozen=True, slots=True)
class Check:
    """One row."""

    code: str
    """Stable, upper case; what a site names it by."""
    measures: str
    """What is measured, in words for a physicist."""
    unit: str
    """UCUM."""
    usual: Range
    """Nothing is said inside."""
    severity: Severity = Severity.FLAG
    """Of a finding outside `usual`."""
    possible: Range = ANYTHING
    """Outside the result is rejected."""
    source: str = OURS
    """Where the ranges are from."""
    fixed: bool = False
    """Whether a site may change nothing in this row."""


_SHARES_PERCENT: Mapping[Lobe, tuple[float, str, Range]] = {
    Lobe.RUL: (17.9, "11.8 to 22.7", (6.0, 32.0)),
    Lobe.RML: (9.3, "6.6 to 13.8", (2.0, 20.0)),
    Lobe.RLL: (26.5, "22.3 to 34.0", (12.0, 42.0)),
    Lobe.LUL: (23.1, "18.1 to 26.6", (10.0, 36.0)),
    Lobe.LLL: (23.2, "19.4 to 28.7", (10.0, 38.0)),
}
"""Mean and range of 32 volunteers, supine, inspiration (PMC7490509, Table 3); usual here: widened for free breathing
and disease, as the RML is for 2 to 20 %."""

NORMAL_SHARE_PERCENT: Mapping[Lobe, float] = MappingProxyType({lobe: row[0] for lobe, row in _SHARES_PERCENT.items()})
"""Volume of each lobe in percent of both lungs."""


def _fixed(code: str, measures: str, usual: Range, unit: str = "1") -> Check:
    return Check(code, measures, unit, usual, Severity.REJECT, source="by definition", fixed=True)


_NOTE = Severity.NOTE
_AREA = "lung lying on the {} face of the scan; a section through mid-lung has some 200 cm2"
_BREATH = "about -670 at mid-tidal breathing, -850 at full inspiration"

# fmt: off
_OF_THE_CT = (
    Check("LOSSY_COMPRESSION", "ratio of a compression with loss; 0 when nobody knows", "1", (inf, inf), source=""),
    *(
        Check(f"LUNG_TOUCHES_{side}", _AREA.format(side.lower()), "cm2", (0.0, 1.0), possible=(0.0, 40.0))
        for side in ("BOTTOM", "TOP", "FRONT", "BACK", "RIGHT", "LEFT")
    ),
    Check("LUNG_TOUCHES_CIRCLE",
          "outer surface of lung that lies on the circle the scanner reconstructed, where it shows in the images",
          "cm2", (0.0, 2.0), possible=(0.0, 80.0)),
    Check("SLICE_STANDS_OUT",
          "lung in which one slice differs from both its neighbours, in percent of the largest section: a slice "
          "that is misplaced, repeated or moved",
          "%", (0.0, 6.0), possible=(0.0, 40.0)),
    Check("LUNG_AREA_JUMP",
          "how much more the section of the lungs changes from one slice to the next than it does nearby, in percent "
          "of the largest section: missing slices, a movement during the scan",
          "%", (0.0, 12.0), possible=(0.0, 50.0)),
    Check("POSITION_PRONE", "1 when couch or, without one, image axes say prone", "1", (0.0, 0.0)),
    Check("POSITION_FEET_FIRST", "1 when image axes say feet first", "1", (0.0, 0.0), _NOTE),
    Check("SMALL_PATIENT", "height of the lungs: a child, or a very small person", "mm", (170.0, inf)),
    Check("CONTRAST_MEDIUM", "upper quartile of HU in heart and great vessels", "[hnsf'U]", (-inf, 130.0), _NOTE,
          source="blood without contrast has 35 to 60 HU; the limit is ours"),
    Check("METAL", "volume above 3000 HU in the box around the lungs, 30 mm wider", "ml", (0.0, 0.3)),
    Check("PIXEL_NOISE", "standard deviation of HU in soft tissue, from pairs of pixels", "[hnsf'U]", (0.0, 60.0),
          _NOTE),
)

_OF_THE_LUNGS = (
    Check("LUNG_VOLUME", "volume of both lungs", "ml", (1500.0, 9000.0), possible=(800.0, 14000.0),
          source="4066 +- 1190 ml supine in 100 normals (Cressoni 2013), widened"),
    Check("RIGHT_LUNG_VOLUME", "volume of the right lung", "ml", (500.0, 5500.0), possible=(100.0, 9000.0)),
    Check("LEFT_LUNG_VOLUME", "volume of the left lung", "ml", (500.0, 5500.0), possible=(100.0, 9000.0)),
    Check("RIGHT_LUNG_SHARE", "right lung in percent of both", "%", (35.0, 70.0), possible=(10.0, 90.0),
          source="53.6, 50.6 to 57.4 % in 32 volunteers (PMC7490509, Table 3), widened"),
    Check("LUNG_MISSING", "lungs without a voxel", "1", (0.0, 0.0)),
    Check("LUNG_DENSITY", "mean HU in the lungs", "[hnsf'U]", (-900.0, -550.0), possible=(-980.0, -300.0),
          source=_BREATH),
    Check("INSPIRATION", "mean HU of aerated lung: how deep the patient breathed in for this CT", "[hnsf'U]",
          (-870.0, -650.0), _NOTE, source=_BREATH),
    Check("DIAPHRAGM_LEVEL", "how much higher the right half of the diaphragm stands than the left", "mm",
          (-30.0, 60.0), _NOTE),
    Check("PURE_GAS", "gas without tissue inside the lungs: pneumothorax, bullae, trachea or bowel", "ml", (0.0, 60.0)),
    _fixed("LUNG_SIDES", "how far the left lung lies to the left of the right lung", (0.0, inf), "mm"),
    Check("LUNG_ACROSS_MIDLINE", "part of a lung on the other side of the middle of the body", "%", (0.0, 15.0),
          possible=(0.0, 45.0)),
    Check("LUNG_OUTSIDE_BODY", "lung outside the body", "ml", (0.0, 10.0), possible=(0.0, 100.0)),
    Check("LUNG_IN_AIRWAY", "lung in trachea and main bronchi; emphysema can pass for these", "ml", (0.0, 12.0)),
    *(
        Check(f"{side.upper()}_LUNG_AGREEMENT",
              f"Dice of the {side} lung and that of a plain threshold; low where lung is dense or was missed",
              "1", (0.95, 1.0))
        for side in ("right", "left")
    ),
    Check("LUNG_LEFT_OUT", "aerated lung, by a plain threshold, that is in no lobe", "ml", (0.0, 200.0),
          possible=(0.0, 600.0)),
    Check("RIGHT_LUNG_OPAQUE",
          "tissue on the right, above the diaphragm and beside the mediastinum, where the mirror image of the left "
          "lung has air: fluid, consolidation, a mass, a collapsed lobe",
          "ml", (0.0, 250.0)),
    Check("LEFT_LUNG_OPAQUE", "the same on the left, where the heart takes its share", "ml", (0.0, 550.0)),
    Check("RIGHT_MASS_AT_MEDIASTINUM",
          "thick tissue on the right of the upper mediastinum, in no lobe, where the mirror image of the left lung has "
          "air",
          "ml", (0.0, 30.0)),
    Check("LEFT_MASS_AT_MEDIASTINUM", "the same on the left, where the aorta takes its share", "ml", (0.0, 60.0)),
    Check("PLEURAL_FLUID", "fluid, or lung without air, at the back of one side, by an estimate", "ml", (0.0, 80.0)),
    Check("MIRRORED", "side of heart and liver: 1 heart left and liver right, -1 the reverse; whatever the lobes say",
          "1", (-0.1, 1.0), possible=(-0.4, 1.0)),
    Check("SIDES_NOT_SEEN", "evidence of heart and liver for right and left, 0 to 1", "1", (0.1, 1.0), _NOTE),
    Check("BACK_TO_FRONT", "how far behind the middle of the lungs the spine lies", "mm", (20.0, inf),
          possible=(-10.0, inf)),
    Check("UPSIDE_DOWN", "how far above the middle of the lungs the trachea lies", "mm", (0.0, inf),
          possible=(-40.0, inf)),
)

_OF_THE_LOBES = (
    _fixed("LABELS_UNKNOWN", "voxels with a label that is no lobe", (0.0, 0.0)),
    *(
        Check(f"{lobe.name}_SHARE", f"{lobe.name} in percent of both lungs", "%", usual,
              source=f"{mean}, {seen} % in 32 volunteers (PMC7490509, Table 3), widened")
        for lobe, (mean, seen, usual) in _SHARES_PERCENT.items()
    ),
    Check("LOBE_MISSING", "lobes without a voxel in a lung that is there", "1", (0.0, 0.0), possible=(0.0, 1.0)),
    Check("ATLAS_LOBE_MISSING", "the same for an atlas, which draws every lobe into every lung", "1", (0.0, 0.0),
          Severity.REJECT),
    Check("LOBE_IN_PIECES", "largest connected part of a lobe", "%", (95.0, 100.0), possible=(50.0, 100.0)),
    Check("LOBE_ORDER",
          "smallest distance by which centres lie in order: upper above lower lobe, middle below upper and in front of "
          "lower lobe",
          "mm", (0.0, inf), possible=(-20.0, inf)),
    Check("FISSURES_NOT_SEEN",
          "smallest part of a fissure that the CT showed to an engine that looks for fissures; thick slices show few",
          "%", (30.0, 100.0), _NOTE),
    Check("FISSURE_ABSENT",
          "part of an oblique fissure that the CT showed, where it should (slices of up to 3 mm, or more than 30 % of "
          "another fissure seen): their border is drawn from the atlas; a lobe was taken out or has collapsed, or the "
          "fissure is incomplete",
          "%", (30.0, 100.0)),
    Check("HORIZONTAL_FISSURE_ABSENT",
          "the same of the horizontal fissure, which many healthy people do not have", "%", (15.0, 100.0)),
    Check("LOBE_DENSITY", "mean HU of a lobe", "[hnsf'U]", (-950.0, -500.0)),
    Check("LOBE_CONSOLIDATED", "part of a lobe above -200 HU: vessels, tumour, consolidation", "%", (0.0, 20.0)),
)

_OF_THE_MAP = (
    _fixed("MAP_NOT_FINITE", "values of the map that are not numbers", (0.0, 0.0)),
    _fixed("MAP_EMPTY", "voxels of lung in the map", (1.0, inf)),
    _fixed("MAP_LUNGS_DIFFER", "voxels that are lung for the map or for the lobes, not for both", (0.0, 0.0)),
    _fixed("MAP_NOT_POSITIVE", "smallest value in the lungs, which must be above 0", (0.0, inf)),
    _fixed("MAP_OUTSIDE_LUNGS", "largest value outside the lungs", (0.0, 0.0)),
    _fixed("MAP_MEAN", "mean over both lungs, to which the map is scaled", (0.999, 1.001)),
    Check("MAP_VARIATION",
          "standard deviation over mean: a flat map says nothing, in a spiky one a few spots hold all",
          "1", (0.05, 1.0), possible=(0.001, 5.0)),
    Check("MAP_PEAK", "99.9th percentile of the map; ground glass can pass it under the densitometric baseline", "1",
          (0.0, 2.0),
          source="supine lung of 20 cm differs by some 50 % from front to back (2.6 % per cm, PMC4294417); widened"),
    Check("OUT_OF_DOMAIN",
          "how far the CT is from those that the model was trained on: the largest distance of simple statistics "
          "(spacing, noise, breath, density, contrast medium), by the limit that the model brings, where it brings one",
          "1", (0.0, 1.0), source="the model: 1 is what some 5 % of its training patients exceed"),
    Check("MEMBERS_DISAGREE",
          "mean spread of the networks of an ensemble over the lungs, by what 95 % of the patients of its study do not "
          "exceed; of ensembles",
          "1", (0.0, 1.5)),
    _fixed("REGIONS_OVERLAP", "voxels that are high- and low-functional at once", (0.0, 0.0)),
    _fixed("REGIONS_OUTSIDE_LUNGS", "voxels of functional regions outside the lungs", (0.0, 0.0)),
    Check("REGION_EMPTY", "functional regions without a voxel", "1", (0.0, 0.0)),
    Check("RAN_ON_LESS_MEMORY", "step of the memory ladder on which a network ran; a flag where numbers may differ",
          "1", (0.0, 0.0), _NOTE, source=""),
)
# fmt: on

CHECKS: Mapping[str, Check] = MappingProxyType(
    {check.code: check for check in (*_OF_THE_CT, *_OF_THE_LUNGS, *_OF_THE_LOBES, *_OF_THE_MAP)}
)
"""Every row by its code."""
