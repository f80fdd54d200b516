"""A site's reference set: CTs of which the answer is stored, one folder each.

    reference/
        patient-a/          DICOM files of one CT series, also in folders below
            expected.json   the stored answer (`expected`); absent until it is recorded
        patient-b/ …

A site takes CTs of its own scanner that it knows well. What is stored is what *this* node answered when the site
accepted it, not the truth: commissioning shows that an installation, an update or a new model answers alike.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom import dcmread

from dicom_node.errors import ReferenceUnusable
from dicom_node.offline import dicom_files

_EXPECTED: Final = "expected.json"


@dataclass(frozen=True, slots=True)
class ReferenceCase:
    """One CT and where its answer is stored."""

    name: str
    """Name of its folder; it stands in the report, so it should name no patient."""
    files: tuple[Path, ...]
    expected: Path


def read_reference_set(folder: Path) -> tuple[ReferenceCase, ...]:
    """Every case of a reference set, in order of name.

    Raises:
        ReferenceUnusable: there is none, or one holds no CT series or more than one.
    """
    cases = [_case(path) for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []
    if not cases:
        raise ReferenceUnusable(f"{folder} holds no folder with a CT series")
    return tuple(cases)


def _case(folder: Path) -> ReferenceCase:
    files = tuple(dicom_files(folder))
    if not files:
        raise ReferenceUnusable(f"{folder.name} holds no DICOM file")
    tags = ["SeriesInstanceUID", "Modality"]
    headers = [dcmread(path, stop_before_pixels=True, specific_tags=tags) for path in files]
    if any(header.get("Modality") != "CT" for header in headers):
        raise ReferenceUnusable(f"{folder.name} holds files that are no CT")
    if (number := len({header.SeriesInstanceUID for header in headers})) != 1:
        raise ReferenceUnusable(f"{folder.name} holds {number} series, wanted one")
    return ReferenceCase(folder.name, files, folder / _EXPECTED)
