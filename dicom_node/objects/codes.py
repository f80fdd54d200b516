"""Every coded concept, ROI name, ROI type and colour that leaves this node, in one table.

Codes come from PS3.16 (context groups are named where they matter), ROI names from AAPM TG-263, ROI interpreted
types from PS3.3 C.8.8.8.1. Nothing here is computed: what the standard gives as a table is a table.
"""

from dataclasses import dataclass
from enum import StrEnum

from pydicom.dataset import Dataset

from inference.anatomy import Lobe, Side
from inference.quality.findings import Severity

PRIVATE_SCHEME = "99PERFNODE"
"""Coding scheme of the concepts that no standard has; declared in (0008,0110) wherever it is used (PS3.3 C.12.1)."""

BODY_PART = "CHEST"
"""Body Part Examined (0018,0015) of images. Not the CT's: scanner protocols say LUNG (a paired organ without a side),
THORAX (no defined term) or ABDOMEN."""

LONGEST_ROI_NAME = 16
"""Characters; TG-263 keeps names that short because some planning systems cut longer ones."""


@dataclass(frozen=True, slots=True)
class CodedTerm:
    """A coded concept: value, scheme and meaning (PS3.3 section 8.8)."""

    value: str
    scheme: str
    meaning: str

    def dataset(self) -> Dataset:
        """The concept as an item of a code sequence."""
        item = Dataset()
        item.CodeValue = self.value
        item.CodingSchemeDesignator = self.scheme
        item.CodeMeaning = self.meaning
        return item


@dataclass(frozen=True, slots=True)
class Structure:
    """What a region is, as category, type and side (CID 7150, 7151 or 7161, 244)."""

    category: CodedTerm
    type: CodedTerm
    laterality: CodedTerm | None = None


class RoiType(StrEnum):
    """RT ROI Interpreted Type (3006,00A4): the terms that a lung region may carry (PS3.3 C.8.8.8.1)."""

    ORGAN = "ORGAN"
    AVOIDANCE = "AVOIDANCE"
    CONTROL = "CONTROL"


class RoiName(StrEnum):
    """Names of the ROIs that do not belong to one lobe or side. `^` may be replaced, see `roi_name`."""

    LUNGS = "Lungs"
    HIGH = "Lungs^HighPerf"
    LOW = "Lungs^LowPerf"


NAME_SEPARATORS = ("^", "_")
"""TG-263 writes a custom qualifier behind `^`; `_` is for planning systems that refuse that character."""

# Quantity, unit and method of the parametric map.
QUANTITY = CodedTerm("246205007", "SCT", "Quantity")
PERFUSION_QUANTITY = CodedTerm("110831", "DCM", "Perfusion")  # CID 7180; "blood flow" would claim a measured flow
MEASUREMENT_METHOD = CodedTerm("370129005", "SCT", "Measurement Method")
METHOD_NETWORK = CodedTerm("CTNETWORK", PRIVATE_SCHEME, "Perfusion surrogate predicted from CT by a network")
METHOD_DENSITOMETRIC = CodedTerm("CTDENSITY", PRIVATE_SCHEME, "Perfusion surrogate computed from CT density")
PERCENT = CodedTerm("%", "UCUM", "Percent")
SOURCE_IMAGE = CodedTerm("121322", "DCM", "Source image for image processing operation")  # CID 7222
DERIVATION_PERFUSION = CodedTerm("129104", "DCM", "Perfusion image analysis")  # CID 7203
DIAGNOSTIC_IMAGING_STUDY = CodedTerm("18748-4", "LN", "Diagnostic imaging study")  # title of the summary page
PRIVATE_SCHEME_NAME = "perfusion-node private codes"

# Algorithm families, CID 7162.
ARTIFICIAL_INTELLIGENCE = CodedTerm("123110", "DCM", "Artificial Intelligence")
HISTOGRAM_ANALYSIS = CodedTerm("123105", "DCM", "Histogram Analysis")
MORPHOLOGICAL_OPERATIONS = CodedTerm("123104", "DCM", "Morphological Operations")

SUPERSEDED_RESULT = CodedTerm("SUPERSEDED", PRIVATE_SCHEME, "Earlier result superseded by this one")
ACQUISITION_EQUIPMENT = CodedTerm("109101", "DCM", "Acquisition Equipment")  # CID 7005

# Measurements and texts of the report, TID 1500. No standard has the shares.
DEVICE = CodedTerm("121007", "DCM", "Device")  # CID 270
CHEST_CT = CodedTerm("169069000", "SCT", "CT of chest")
VOLUME = CodedTerm("118565006", "SCT", "Volume")  # CID 7469
MILLILITRE = CodedTerm("ml", "UCUM", "Milliliter")
MEAN = CodedTerm("373098007", "SCT", "Mean")  # CID 7464
PERFUSION_SHARE = CodedTerm("PERFSHARE", PRIVATE_SCHEME, "Share of the perfusion of both lungs")
HIGH_SHARE = CodedTerm("HIGHSHARE", PRIVATE_SCHEME, "Share of the volume that is high-functional lung")
LOW_SHARE = CodedTerm("LOWSHARE", PRIVATE_SCHEME, "Share of the volume that is low-functional lung")
MEMBER_SPREAD = CodedTerm("MEMBERSPREAD", PRIVATE_SCHEME, "Standard deviation of the mean over networks")
UPPER_UNCERTAINTY = CodedTerm("371886008", "SCT", "+, range of upper measurement uncertainty")  # TID 310
LOWER_UNCERTAINTY = CodedTerm("371885007", "SCT", "-, range of lower measurement uncertainty")
DOMAIN_DISTANCE = CodedTerm("DOMAINDIST", PRIVATE_SCHEME, "Distance of the CT from the training by its limit")
NO_UNITS = CodedTerm("1", "UCUM", "no units")
QUALITATIVE_EVALUATIONS = CodedTerm("C0034375", "UMLS", "Qualitative Evaluations")
COMMENT = CodedTerm("121106", "DCM", "Comment")
FUNCTION_RULE = CodedTerm("FUNCTIONRULE", PRIVATE_SCHEME, "Rule for high- and low-functional lung")
UNCERTAINTY = CodedTerm("UNCERTAINTY", PRIVATE_SCHEME, "What the uncertainty of the figures means")
QUALITY_FINDING = CodedTerm("111052", "DCM", "Quality Finding")
FINDING_SEVERITY = CodedTerm("246112005", "SCT", "Severity")
FINDING_MEASURED = CodedTerm("MEASURED", PRIVATE_SCHEME, "Value measured by the check")
FINDING_LIMIT = CodedTerm("LIMIT", PRIVATE_SCHEME, "Limit that was crossed")
FINDING_NOTE = CodedTerm("NOTE", PRIVATE_SCHEME, "Note: worth knowing")
FINDING_FLAG = CodedTerm("FLAG", PRIVATE_SCHEME, "Flag: a person should look before using the result")
FINDING_REJECT = CodedTerm("REJECT", PRIVATE_SCHEME, "Reject: the result must not be used")
SEVERITIES = {Severity.NOTE: FINDING_NOTE, Severity.FLAG: FINDING_FLAG, Severity.REJECT: FINDING_REJECT}

# Anatomy: generic lobe and side as modifier, as in CID 7151 and 244.
ANATOMICAL_STRUCTURE = CodedTerm("91723000", "SCT", "Anatomical Structure")
FUNCTION = CodedTerm("246464006", "SCT", "Function")
PERFUSION_PROPERTY = CodedTerm("371863001", "SCT", "Perfusion")  # CID 7161
LUNG = CodedTerm("39607008", "SCT", "Lung")
_SIDE_CODES = {
    Side.LEFT: CodedTerm("7771000", "SCT", "Left"),
    Side.RIGHT: CodedTerm("24028007", "SCT", "Right"),
}
_UPPER = CodedTerm("45653009", "SCT", "Upper lobe of lung")
_MIDDLE = CodedTerm("72481006", "SCT", "Middle lobe of right lung")
_LOWER = CodedTerm("90572001", "SCT", "Lower lobe of lung")

BOTH_SIDES = CodedTerm("51440002", "SCT", "Bilateral")
LUNGS_STRUCTURE = Structure(ANATOMICAL_STRUCTURE, LUNG)
SIDE_STRUCTURES = {side: Structure(ANATOMICAL_STRUCTURE, LUNG, code) for side, code in _SIDE_CODES.items()}
LOBE_STRUCTURES = {
    Lobe.RUL: Structure(ANATOMICAL_STRUCTURE, _UPPER, _SIDE_CODES[Side.RIGHT]),
    Lobe.RML: Structure(ANATOMICAL_STRUCTURE, _MIDDLE),  # the code says which side
    Lobe.RLL: Structure(ANATOMICAL_STRUCTURE, _LOWER, _SIDE_CODES[Side.RIGHT]),
    Lobe.LUL: Structure(ANATOMICAL_STRUCTURE, _UPPER, _SIDE_CODES[Side.LEFT]),
    Lobe.LLL: Structure(ANATOMICAL_STRUCTURE, _LOWER, _SIDE_CODES[Side.LEFT]),
}
FUNCTION_STRUCTURE = Structure(FUNCTION, PERFUSION_PROPERTY)

COLOURS: dict[str, tuple[int, int, int]] = {
    "Lungs": (0, 255, 0),
    "Lung_L": (0, 170, 255),
    "Lung_R": (255, 170, 0),
    "Lung_RUL": (255, 225, 25),
    "Lung_RML": (245, 130, 48),
    "Lung_RLL": (170, 110, 40),
    "Lung_LUL": (70, 240, 240),
    "Lung_LLL": (0, 130, 200),
    "Lungs^HighPerf": (230, 25, 75),
    "Lungs^LowPerf": (145, 80, 220),
}
"""ROI Display Color (3006,002A) by TG-263 name; fixed, so that a structure looks alike in every patient."""


def private_scheme() -> Dataset:
    """Item of Coding Scheme Identification Sequence (0008,0110), for objects that use a code of ours (PS3.3 C.12.1)."""
    item = Dataset()
    item.CodingSchemeDesignator = PRIVATE_SCHEME
    item.CodingSchemeName = PRIVATE_SCHEME_NAME
    return item


def roi_name(name: str, separator: str = "^") -> str:
    """An ROI name with the site's separator before a custom qualifier.

    Raises:
        ValueError: the separator is not one of `NAME_SEPARATORS`.
    """
    if separator not in NAME_SEPARATORS:
        raise ValueError(f"the separator of ROI names must be one of {NAME_SEPARATORS}, got {separator!r}")
    return name.replace("^", separator)
