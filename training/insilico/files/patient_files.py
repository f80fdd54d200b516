"""The folder of one in-silico patient: DICOM as a hospital would have it, the truth beside it, and a record.

    NC-001/
    ├─ ct/0001.dcm ...              the CT series, in slice order
    ├─ nm/spect.dcm                 the reconstructed SPECT, one NM object
    ├─ truth/perfusion.nrrd         relative to the mean of both lungs; 0 outside
    ├─ truth/lobes.nrrd             1 RUL, 2 RML, 3 RLL, 4 LUL, 5 LLL; 0 outside
    ├─ truth/vessels.nrrd           percent of the voxel that drawn arteries fill
    ├─ truth/arteries.csv           the whole tree: ends, radius, lumen left, lobe, territory
    ├─ truth/territories.nrrd       number of the arterial territory, from 1; 0 outside
    ├─ truth/diseases/NAME.nrrd     1 where the disease is
    └─ record.json                  who, what is wrong, machines, true totals, versions, digests of all files

The folder appears under its name when it is whole and on disk, never before.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom

from inference.ct.series import read_ct_files
from inference.volumes import CtVolume
from training.errors import NoPatient
from training.insilico.cohort_plan import InsilicoPlan
from training.insilico.files.patient_record import FORMAT, patient_record, sha256_of
from training.insilico.files.truth_images import read_truth, write_truth
from training.insilico.files.whole_folder import whole_folder
from training.insilico.patient import InsilicoPatient, Truth
from training.insilico.patient_id import PatientId
from training.nuclear_image import NuclearImage, read_nuclear_image

RECORD = "record.json"
NUCLEAR = "nm/spect.dcm"


def write_patient(patient: InsilicoPatient, plan: InsilicoPlan, parent: Path) -> Path:
    """Write a patient into a new folder of `parent`, named as the patient, in place of an older one.

    Equal arguments give equal bytes.

    Returns:
        The folder.

    Raises:
        OSError: the file system refuses; nothing is left of the new folder.
        ValueError: the facts cannot go into a record.
    """
    destination = parent / str(patient.patient)
    with whole_folder(destination) as folder:
        (folder / "ct").mkdir()
        (folder / "nm").mkdir()
        for number, dataset in enumerate(patient.ct, start=1):
            dataset.save_as(folder / "ct" / f"{number:04d}.dcm", enforce_file_format=True)
        patient.nuclear.save_as(folder / NUCLEAR, enforce_file_format=True)
        write_truth(patient.truth, folder / "truth")
        files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
        (folder / RECORD).write_bytes(patient_record(patient, plan, files))
    return destination


@dataclass(frozen=True, slots=True, eq=False)
class PatientFolder:
    """A whole patient on disk."""

    path: Path
    patient: PatientId
    record: Mapping[str, Any]
    """The content of `record.json`."""

    @classmethod
    def open(cls, path: Path) -> "PatientFolder":
        """The patient of a folder, by its record; images are read when they are asked for.

        Raises:
            NoPatient: the folder has no record that this version reads.
        """
        try:
            record = json.loads((path / RECORD).read_bytes())
        except OSError as fault:
            raise NoPatient(str(path), f"{RECORD} cannot be read: {fault.strerror}") from fault
        except ValueError as fault:
            raise NoPatient(str(path), f"{RECORD} is not JSON") from fault
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise NoPatient(str(path), f"{RECORD} is not of format {FORMAT}")
        try:
            return cls(path, PatientId.parse(record["patient"]), record)
        except (KeyError, TypeError, ValueError) as fault:
            raise NoPatient(str(path), f"{RECORD} names no patient") from fault

    @property
    def ct_files(self) -> tuple[Path, ...]:
        """The CT series, in slice order."""
        return tuple(sorted((self.path / "ct").glob("*.dcm")))

    @property
    def nuclear_file(self) -> Path:
        """The reconstructed SPECT."""
        return self.path / NUCLEAR

    @property
    def making_digest(self) -> str:
        """What the patient was made from; see `InsilicoPlan.making_digest`."""
        return str(self.record["making"]["digest"])

    @property
    def disease_names(self) -> tuple[str, ...]:
        """Names of the disease masks, in order."""
        return tuple(sorted(self.record["truth"]["disease_volume_ml"]))

    def ct(self) -> CtVolume:
        """The CT series, read as any other.

        Raises:
            UnusableSeries: it is not what was written.
        """
        return read_ct_files(self.ct_files)

    def nuclear(self) -> NuclearImage:
        """The reconstructed SPECT.

        Raises:
            NuclearImageUnusable: it is not what was written.
            OSError: the file is missing.
        """
        return read_nuclear_image(pydicom.dcmread(self.nuclear_file))

    def truth(self) -> Truth:
        """What is true of the patient, on the box of the lungs.

        Raises:
            OSError: a file is missing or damaged.
        """
        uid = self.record["truth"]["frame_of_reference_uid"]
        return read_truth(self.path / "truth", frame_of_reference_uid=uid)

    def changed_files(self) -> tuple[str, ...]:
        """Names of files that are missing, were changed, or are not in the record."""
        known = self.record["files"]
        here = {str(path.relative_to(self.path)) for path in self.path.rglob("*") if path.is_file()} - {RECORD}
        changed = {name for name in known.keys() & here if sha256_of(self.path / name) != known[name]}
        return tuple(sorted(changed | (known.keys() ^ here)))
