"""A hospital for the walkthrough: its archive with patients in it, its node, and a model that makes the maps so far.

The archive is a real Orthanc. Its patients are in-silico and coarse; of one the SPECT has a Frame of Reference of its
own, turned and shifted, in another study, and a registration object links it to the CT.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom import Dataset, FileDataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian

from dicom_node.network.addresses import AeAddress
from dicom_node.network.delivery import Destination, send
from dicom_node.settings.config import read_settings
from inference.ct.instances import PhantomPatient
from inference.densitometric import DensitometricBaseline
from inference.model_card import ModelIdentity
from inference.models.promotion import promote
from inference.models.shipped import trusted_keys
from inference.models.signature import make_key_pair
from tests.peers import Orthanc, free_port, orthanc
from tests.running_node import RunningNode
from tests.stand_in_models import density_files, passing_evaluation, stand_in_bundle
from tests.training.pairs.hospital_files import registration, turned
from tests.training.small_cohort import make_cohort
from training.pairs.rigid import Rigid

PAIRED = tuple(f"INSILICO-{name}-00{k}" for name, count in (("LC", 5), ("NC", 5)) for k in range(1, count + 1))
"""Ten patients whose CT and SPECT are in the archive."""
NEXT = ("NC-006", "NC-007", "NC-008")
"""Patients who only get a planning CT, one after the other; its files lie beside the site file, by these names."""
CHEST = (slice(24, 72), slice(18, 78))
"""Rows and columns of 96 by 96 that are kept of the CT of a pair; what is axial and head first keeps its corner so."""
MOVED = "INSILICO-NC-003"
MOVEMENT = turned((4, -3, 6), (25, -18, 30))
"""Of the SPECT of `MOVED`: into the frame of the CT."""
OWN_FRAME = "2.25.771001"
IN_USE, GIVEN = "model-in-use", "given-model"
"""Folders of the model that makes the maps at first, and of the one that training starts from, which follows density
closer; the key of `maker.pem` signed both."""
STORE_KEY = "06" * 32
"""Of the study store: pseudonyms, and with them who is held out, are the same each time the test runs."""


def make_patients(folder: Path) -> Path:
    """All patients as a cohort; some seconds."""
    return make_cohort(
        folder,
        ("non_cancer = 2", "non_cancer = 8"),
        ("lung_cancer = 1", "lung_cancer = 5"),
        ("spacing_mm = 5.0", "spacing_mm = 7.0"),
        ("seed = 7", "seed = 11"),
    )


def fill_archive(archive: Orthanc, cohort: Path, scratch: Path) -> None:
    """Send CT and SPECT of the ten to the archive, and the registration object of one."""
    destination = Destination("archive", archive.address, calling_ae_title="CT1")
    for patient in PAIRED:
        folder = cohort / patient.removeprefix("INSILICO-")
        send(narrowed(sorted(folder.glob("ct/*.dcm")), scratch / patient), destination)
        nuclear = folder / "nm" / "spect.dcm"
        send([nuclear] if patient != MOVED else moved(nuclear, scratch), destination)


def narrowed(ct: Sequence[Path], to: Path) -> list[Path]:
    """The CT with a field of view of the chest, in which lungs are found four times as fast."""
    to.mkdir()
    for path in ct:
        dataset = dcmread(path)
        pixels = dataset.pixel_array[CHEST]
        down, across = map(float, dataset.PixelSpacing)
        x, y, z = map(float, dataset.ImagePositionPatient)
        corner = x + CHEST[1].start * across, y + CHEST[0].start * down, z
        dataset.ImagePositionPatient = [f"{value:.9f}" for value in corner]
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.PixelData = pixels.tobytes()
        dataset["PixelData"].VR = "OW"
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.save_as(to / path.name, enforce_file_format=True)
    return sorted(to.iterdir())


def moved(nuclear: Path, scratch: Path) -> list[Path]:
    """The SPECT as another camera would have it, where the patient lay otherwise, and the object that links the two."""
    spect, scratch = dcmread(nuclear), scratch / "moved"
    ct_frame, back = str(spect.FrameOfReferenceUID), MOVEMENT.inverse
    detector = spect.DetectorInformationSequence[0]
    axes = np.array(detector.ImageOrientationPatient, float).reshape(2, 3) @ back.matrix[:3, :3].T
    position = back.matrix @ [*map(float, detector.ImagePositionPatient), 1.0]
    detector.ImageOrientationPatient = [f"{value:.9g}" for value in axes.ravel()]
    detector.ImagePositionPatient = [f"{value:.9g}" for value in position[:3]]
    spect.FrameOfReferenceUID, spect.StudyInstanceUID = OWN_FRAME, "2.25.771002"
    person = PhantomPatient(
        str(spect.PatientName), str(spect.PatientID), birth_date=str(spect.PatientBirthDate), sex=str(spect.PatientSex)
    )
    link = registration(ct_frame, [(ct_frame, Rigid.identity()), (OWN_FRAME, MOVEMENT)])
    _name(link, person)
    return [_saved(spect, scratch / "spect.dcm"), _saved(link, scratch / "registration.dcm")]


def _name(dataset: Dataset, person: PhantomPatient) -> None:
    dataset.PatientName, dataset.PatientID = person.name, person.patient_id
    dataset.PatientBirthDate, dataset.PatientSex = person.birth_date, person.sex


def _saved(dataset: FileDataset, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


@dataclass(slots=True)
class Ward:
    """The hospital while somebody goes through a page, in the folder of the node."""

    archive: Orthanc
    node: RunningNode
    before: ModelIdentity
    """The model that makes the maps until another one is promoted."""

    def open_node(self, site_file: str) -> None:
        """Start the node with the site file of the page, and the first model in force."""
        assert site_file.count("[node]\n") == 1
        quick = '[node]\nquiet_period_s = 1.0\nminimum_free_mb = 100\ndata_dir = "data"\n'
        alone = "[self_test]\nevery_h = 0\n"  # on a slow machine the daily one would come between
        self.node.site_file.write_text(site_file.replace("[node]\n", quick) + alone)
        settings = read_settings(self.node.site_file)
        registry, keys = settings.model_registry(), trusted_keys(settings.engine.trusted_keys)
        model = registry.take(self.node.folder / IN_USE, keys)
        self.before = ModelIdentity(model.name, model.version, model.content_sha256)
        evaluation = passing_evaluation(self.before, DensitometricBaseline.identity).encoded()
        promote(
            registry, model, evaluation, lambda: DensitometricBaseline.identity, keys, by="Vendor", approved_by="Clinic"
        )
        self.node.start()

    def models_of(self, patient_id: str) -> list[str]:
        """Which model each object of a patient in the archive says made it, by SOP Instance UID."""
        query = {"Level": "Instance", "Query": {"PatientID": patient_id}}
        found = []
        for instance in sorted(self.archive.post("/tools/find", query)):
            dataset = dcmread(BytesIO(self.archive.file(instance)))
            if dataset.Modality not in ("CT", "NM", "REG"):
                found.append(str(dataset.SoftwareVersions[1]))
        return found


@contextmanager
def ward(folder: Path, cohort: Path) -> Iterator[Ward]:
    """An archive with patients in it, and the folder of a node that does not run yet."""
    work = folder / "work"
    work.mkdir(parents=True)
    (work / "store.key").touch(mode=0o600)
    (work / "store.key").write_text(STORE_KEY + "\n")
    for patient in NEXT:
        shutil.copytree(cohort / patient / "ct", work / patient)
    make_key_pair(work / "maker.pem")
    stand_in_bundle(work / IN_USE, work / "maker.pem", density_files(1), "1")
    stand_in_bundle(work / GIVEN, work / "maker.pem", density_files(0, steps=300), "2")
    node = RunningNode(work, AeAddress("PERFNODE", "127.0.0.1", free_port()))
    with orthanc(folder / "archive", modalities={"node": node.address}) as archive:
        fill_archive(archive, cohort, folder)
        try:
            yield Ward(archive, node, DensitometricBaseline.identity)
        finally:
            if node.process is not None:
                node.stop()
