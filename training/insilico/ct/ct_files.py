"""The CT of an in-silico patient as the instances that a hospital would have."""

from pydicom.dataset import FileDataset
from pydicom.uid import JPEGLSLossless

from inference.ct.instances import CtAcquisition, PhantomPatient, ct_instances
from inference.volumes import CtVolume
from training.insilico.ct.ct_scanner import CtScanner


def ct_datasets(
    ct: CtVolume,
    scanner: CtScanner,
    *,
    patient: PhantomPatient,
    institution: str,
    transfer_syntax: str = JPEGLSLossless,
) -> list[FileDataset]:
    """The instances of a CT series in slice order, to be saved or sent.

    Args:
        ct: as `scan_ct` made it.
        scanner: that made it.
        patient: see `dicom_patient`.
        institution: Institution Name (0008,0080) of the hospital.
        transfer_syntax: uncompressed or lossless; JPEG-LS takes a third of the space.
    """
    acquisition = CtAcquisition(
        manufacturer=scanner.manufacturer,
        model=scanner.model,
        institution=institution,
        protocol=scanner.protocol,
        kernel=scanner.kernel.name,
        kvp=scanner.kvp,
        slice_thickness_mm=scanner.slice_mm,
        exposure_mas=scanner.exposure_mas,
        reconstruction_diameter_mm=ct.grid.shape[2] * ct.grid.spacing_mm[2],
    )
    return ct_instances(ct, patient=patient, acquisition=acquisition, transfer_syntax=transfer_syntax)
