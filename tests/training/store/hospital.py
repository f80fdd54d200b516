"""A hospital's files of small patients: CT, SPECT and a registration object, all random pixels, all UIDs its own."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, SpatialRegistrationStorage

from inference.ct.instances import CtAcquisition, PhantomPatient, ct_instances
from inference.geometry import Grid
from inference.volumes import CtVolume, SeriesReference
from training.insilico.spect.nuclear_instance import nuclear_instance
from training.insilico.spect.spect_protocol import CONVENTIONAL, SpectMethod
from training.insilico.spect.spect_volume import SpectVolume
from training.store.stored_pair import PairFiles, StoredLink

ROOT = "1.2.826.0.1.3680043.8.498.7777"
SLICES = 3
IDENTITY = tuple(float(value) for value in np.eye(4).ravel())
MOVED = np.eye(4)
MOVED[:3, 3] = 12.5, -3.25, 40.125


@dataclass(frozen=True, slots=True)
class HospitalPatient:
    """One patient; another number is another person, with other UIDs and other pixels."""

    number: int = 1
    patient_id: str = "ZZCANARY-ID-1"
    name: str = "ZZCANARY^PHI"
    birth_date: str = "19330303"
    seed: int | None = None
    """Of pixels; None for those of the number."""

    def uid(self, *parts: int) -> str:
        return ".".join((ROOT, str(self.number), *map(str, parts)))

    def ct(self) -> list[FileDataset]:
        rng = np.random.default_rng(self.number if self.seed is None else self.seed)
        hu = rng.integers(-1000, 300, (SLICES, 12, 10)).astype(np.float32)
        hu[0] = -1000.0  # air alone, as every CT may have it
        grid = Grid.axial((SLICES, 12, 10), (3.0, 2.0, 2.0), (-9.5, -11.25, 30.0), frame_of_reference_uid=self.uid(3))
        uids = tuple(self.uid(9, k) for k in range(SLICES))
        source = SeriesReference(self.uid(1), self.uid(2), self.uid(3), uids)
        acquisition = CtAcquisition(manufacturer="SIEMENS Healthineers", institution="ZZCANARY clinic", kernel="Br38f")
        return ct_instances(CtVolume(hu, grid, source), patient=self._person(), acquisition=acquisition)

    def spect(self, *, frame: str | None = None) -> FileDataset:
        """Frame of reference of the CT, or another one."""
        rng = np.random.default_rng(100 + (self.number if self.seed is None else self.seed))
        frame = frame or self.uid(3)
        grid = Grid.axial((7, 9, 11), (4.8, 4.4, 4.2), (-20.0, -20.0, 25.0), frame_of_reference_uid=frame)
        values = rng.random((7, 9, 11), dtype=np.float32)
        protocol = replace(CONVENTIONAL, first_slice_on_top=True)
        spect = SpectVolume(values, grid, (0.0, 0.0, 0.0), 4_321_000, protocol, SpectMethod.FAST)
        ct = SeriesReference(self.uid(1), self.uid(2), frame, (self.uid(9, 0),))
        dataset = nuclear_instance(spect, patient=self._person(), ct=ct, institution="ZZCANARY clinic")
        dataset.SeriesInstanceUID, dataset.SOPInstanceUID = self.uid(5), self.uid(6)
        dataset.file_meta.MediaStorageSOPInstanceUID = UID(self.uid(6))
        return dataset

    def registration(self) -> FileDataset:
        """From the frame of the SPECT, `uid(4)`, to that of the CT, with images named three sequences deep."""
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SpatialRegistrationStorage, UID(self.uid(8))
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        dataset.SOPClassUID, dataset.SOPInstanceUID = SpatialRegistrationStorage, self.uid(8)
        dataset.PatientID, dataset.PatientName = self.patient_id, self.name
        dataset.PatientBirthDate = self.birth_date
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = self.uid(1), self.uid(7)
        dataset.Modality, dataset.ContentLabel, dataset.ContentDescription = "REG", "ZZCANARY", "ZZCANARY"
        dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = "20210317"
        dataset.StudyTime = dataset.ContentTime = "081533"
        dataset.Manufacturer, dataset.BodyPartExamined, dataset.Laterality = "Philips ZZCANARY", "CHEST", ""
        dataset.FrameOfReferenceUID = self.uid(3)
        fixed = _moving(self.uid(3), np.eye(4), (CTImageStorage, [self.uid(9, k) for k in range(SLICES)]))
        moving = _moving(self.uid(4), MOVED, (UID("1.2.840.10008.5.1.4.1.1.20"), [self.uid(6)]))
        dataset.RegistrationSequence = Sequence([fixed, moving])
        series = Dataset()
        series.SeriesInstanceUID = self.uid(2)
        series.ReferencedInstanceSequence = Sequence([_reference(CTImageStorage, self.uid(9, 0))])
        dataset.ReferencedSeriesSequence = Sequence([series])
        return dataset

    def _person(self) -> PhantomPatient:
        return PhantomPatient(
            name=self.name, patient_id=self.patient_id, birth_date=self.birth_date, date="20210317", time="081533"
        )


def hybrid(patient: HospitalPatient, folder: Path) -> PairFiles:
    """CT and SPECT of one hybrid examination, in files."""
    ct, spect = patient.ct(), patient.spect()
    return saved(ct, [spect], None, StoredLink("frame-of-reference", IDENTITY, {"overlap": 1.0}), folder)


def registered(patient: HospitalPatient, folder: Path) -> PairFiles:
    """CT and SPECT in two frames of reference, linked by a registration object."""
    link = StoredLink("registration-object", tuple(float(value) for value in MOVED.ravel()))
    return saved(patient.ct(), [patient.spect(frame=patient.uid(4))], patient.registration(), link, folder)


def saved(
    ct: list[FileDataset], nuclear: list[FileDataset], registration: FileDataset | None, link: StoredLink, folder: Path
) -> PairFiles:
    """Save objects; names of files name the patient, and their order is not that of slices."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"ZZCANARY_{k}.dcm" for k in range(len(ct) + len(nuclear) + 1)]
    objects = [*ct, *nuclear, *([registration] if registration is not None else [])]
    for path, dataset in zip(paths, objects, strict=False):
        dataset.save_as(path, enforce_file_format=True)
    split = len(ct)
    return PairFiles(
        tuple(reversed(paths[:split])),
        tuple(paths[split : split + len(nuclear)]),
        paths[-1] if registration is not None else None,
        link,
    )


def _moving(frame: str, matrix: np.ndarray, images: tuple[UID, list[str]]) -> Dataset:
    item, step, movement = Dataset(), Dataset(), Dataset()
    item.FrameOfReferenceUID = frame
    item.ReferencedImageSequence = Sequence([_reference(images[0], uid) for uid in images[1]])
    movement.FrameOfReferenceTransformationMatrixType = "RIGID"
    movement.FrameOfReferenceTransformationMatrix = [float(value) for value in matrix.ravel()]
    step.MatrixSequence = Sequence([movement])
    kind = Dataset()
    kind.CodeValue, kind.CodingSchemeDesignator, kind.CodeMeaning = "125024", "DCM", "ZZCANARY"
    step.RegistrationTypeCodeSequence = Sequence([kind])
    item.MatrixRegistrationSequence = Sequence([step])
    return item


def _reference(kind: UID, uid: str) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = kind, uid
    return reference
