"""Which part of a breath a CT image shows: one phase of a 4D CT, the average over it, a projection, or none of these.

No attribute of CT Image Storage says so (PS3.3 A.3); scanners and planning systems write it into Image Type and Series
Description, each in its own words. The words below are those of PS3.3 C.8.16.2.1.4 (derived pixel contrast of enhanced
images) and those seen in public 4D CT: "50% Ex", "T=50%", "Gated, 50.0%A", "AIP", "MIP".
"""

import re
from enum import StrEnum
from typing import Final

from pydicom import Dataset


class Phase(StrEnum):
    """What an image shows of the breathing cycle."""

    NONE = "none"
    """Nothing says that it belongs to a 4D CT."""
    SINGLE = "single"
    """One phase of several."""
    AVERAGE = "average"
    """The mean over all phases."""
    MIP = "mip"
    """The brightest value over phases or slices: no HU that a lung has."""
    MINIP = "minip"
    """The darkest value."""


_DERIVED_CONTRAST: Final = {"MAXIMUM": Phase.MIP, "MINIMUM": Phase.MINIP, "MEAN": Phase.AVERAGE}
"""Terms of PS3.3 C.8.16.2.1.4 that are too ordinary to be looked for in descriptions."""
# Words end where letters end: "_MIP_2mm" holds the word MIP, "AVERAGED" and "AMIPAQUE" hold none.
_WORDS: Final = (
    (re.compile(r"(?<![a-z])min[ _-]?ip(?![a-z])", re.IGNORECASE), Phase.MINIP),
    (re.compile(r"(?<![a-z])(t-?mip|mip|max[ _-]?ip)(?![a-z])", re.IGNORECASE), Phase.MIP),
    (re.compile(r"(?<![a-z])(average|avg|ave|aip|av[ _-]?ip)(?![a-z])", re.IGNORECASE), Phase.AVERAGE),
)
_PERCENT: Final = re.compile(r"(?<![\d.])(100|\d{1,2})(\.\d+)? ?%")
_OTHER_PERCENT: Final = re.compile(r"asir|safire|admire|veo|idose|aidr|dose|contrast|zoom", re.IGNORECASE)
"""Words beside which a percentage is the strength of a reconstruction, or something else that is no phase."""
_TIME: Final = re.compile(r"(?<![a-z])(t|ph|phase) ?= ?\d{1,3}(?!\d)", re.IGNORECASE)
_SHORT_TIME: Final = re.compile(r"(?<![a-z])(4d|gated|resp).*(?<![a-z])(t|ph|phase) ?\d{1,3}(?!\d)", re.IGNORECASE)
"""Without "=" only beside another word of breathing: T10 is also a vertebra."""

PHASE_KEYWORDS: Final = (
    "ImageType",
    "SeriesDescription",
    "NominalPercentageOfRespiratoryPhase",
    "NominalPercentageOfCardiacPhase",
    "NumberOfTemporalPositions",
)
"""Attributes that `phase_of` looks at."""


def phase_of(dataset: Dataset) -> Phase:
    """What an image shows of the breathing cycle, as far as its header tells.

    Image Type (0008,0008) from its third value on goes before Series Description; a projection or an average goes
    before a phase, because "MIP 0-100%" is no phase. Nominal Percentage of Respiratory Phase (0020,9245) or Cardiac
    Phase (0020,9241), or more than one temporal position (0020,0105), make an image one phase of several.

    Not detected: 4D CT whose descriptions say nothing, such as "Thorax 2".
    """
    image_type = dataset.get("ImageType") or ()
    kinds = [] if isinstance(image_type, str) else [str(value).strip() for value in image_type][2:]
    for kind in kinds:
        if kind in _DERIVED_CONTRAST:
            return _DERIVED_CONTRAST[kind]
    description = str(dataset.get("SeriesDescription") or "")
    for text in (" ".join(kinds), description):
        for pattern, phase in _WORDS:
            if pattern.search(text):
                return phase
    gated = any(dataset.get(keyword) is not None for keyword in PHASE_KEYWORDS[2:4])
    several = int(dataset.get("NumberOfTemporalPositions") or 1) > 1
    return Phase.SINGLE if gated or several or _names_a_phase(description) else Phase.NONE


def _names_a_phase(description: str) -> bool:
    percent = _PERCENT.search(description) and not _OTHER_PERCENT.search(description)
    return bool(percent or _TIME.search(description) or _SHORT_TIME.search(description))
