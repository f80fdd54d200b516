"""A site's reference set: CTs of which the answer is stored, one folder each.

    reference/
        patient-a/          DICOM files of one CT series, also in folders below
            expected.json   the stored answer (`expected`); absent until it is recorded
        patient-b/ …

A site takes CTs of its own scanner that it knows well. What is stored is what *this* node answered when the site
accepted it, not the truth: commissioning shows that an installation, an update or a new model answers alike.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom import Dataset, dcmread

from dicom_node.errors import ReferenceUnusable
from dicom_node.offline import dicom_files

_EXPECTED: Final = "expected.json"
_UNKNOWN: Final = "not said"


@dataclass(frozen=True, slots=True)
class CtFacts:
    """What a report says of a CT: how it was made, and which files it is. Nothing of the patient."""

    images: int
    scanner: str
    """Manufacturer and model (0008,0070), (0008,1090)."""
    kernel: str
    """Convolution Kernel (0018,1210)."""
    slice_thickness_mm: str
    """Slice Thickness (0018,0050) as it stands in the file."""
    sha256: str
    """Over the SHA-256 of every file, sorted; so it is the same whatever the files are called."""

    @classmethod
    def of(cls, header: Dataset, files: Sequence[Path]) -> "CtFacts":
        """Read every file of a CT once.

        Args:
            header: of one of its images.
            files: all of them.
        """
        digests = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
        scanner = f"{header.get('Manufacturer', '')} {header.get('ManufacturerModelName', '')}".strip()
        kernel = header.get("ConvolutionKernel") or _UNKNOWN
        thickness = header.get("SliceThickness")
        return cls(
            len(files),
            scanner or _UNKNOWN,
            kernel if isinstance(kernel, str) else "/".join(str(part) for part in kernel),
            _UNKNOWN if thickness is None else str(thickness),
            hashlib.sha256("\n".join(digests).encode()).hexdigest(),
        )


@dataclass(frozen=True, slots=True)
class ReferenceCase:
    """One CT and where its answer is stored."""

    name: str
    """Name of its folder; it stands in the report, so it should name no patient."""
    files: tuple[Path, ...]
    expected: Path
    ct: CtFacts


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
    tags = ["SeriesInstanceUID", "Modality", "Manufacturer", "ManufacturerModelName", "ConvolutionKernel"]
    headers = [dcmread(path, stop_before_pixels=True, specific_tags=[*tags, "SliceThickness"]) for path in files]
    if any(header.get("Modality") != "CT" for header in headers):
        raise ReferenceUnusable(f"{folder.name} holds files that are no CT")
    if (number := len({header.SeriesInstanceUID for header in headers})) != 1:
        raise ReferenceUnusable(f"{folder.name} holds {number} series, wanted one")
    return ReferenceCase(folder.name, files, folder / _EXPECTED, CtFacts.of(headers[0], files))
