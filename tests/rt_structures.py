"""RT Structure Sets as a planning system would draw them on a CT, for tests."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, RTStructureSetStorage

from inference.geometry import Grid
from inference.volumes import SeriesReference

Contours = Mapping[int, Sequence[np.ndarray]]
"""Slice to outlines in rows and columns."""


def circle(row: float, column: float, radius: float, points: int = 40) -> np.ndarray:
    """An outline in rows and columns."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.column_stack([row + radius * np.sin(angle), column + radius * np.cos(angle)])


def cylinder(slices: Sequence[int], row: float, column: float, radius: float) -> Contours:
    """One circle on each slice."""
    return {k: [circle(row, column, radius)] for k in slices}


def structure_set(
    grid: Grid,
    source: SeriesReference,
    rois: Mapping[str, Contours],
    *,
    uid: str = "1.2.826.0.1.3680043.8.498.500",
    date: str = "20260102",
    time: str = "120000",
) -> Dataset:
    """A structure set with these ROIs, drawn on the images of a series."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = RTStructureSetStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = UID(uid)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.Modality, dataset.Manufacturer = "RTSTRUCT", "Planning Works"
    dataset.PatientName, dataset.PatientID = "Thorax^Digital", "DIGITAL-THORAX"
    dataset.PatientBirthDate, dataset.PatientSex = "19600101", "O"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = source.study_instance_uid, f"{uid}.1"
    dataset.StructureSetLabel, dataset.StructureSetDate, dataset.StructureSetTime = "PLAN", date, time
    dataset.ReferencedFrameOfReferenceSequence = [_references(source)]
    dataset.StructureSetROISequence, dataset.ROIContourSequence, dataset.RTROIObservationsSequence = [], [], []
    for number, (name, contours) in enumerate(rois.items(), start=1):
        definition, drawn, observation = Dataset(), Dataset(), Dataset()
        definition.ROINumber = drawn.ReferencedROINumber = observation.ReferencedROINumber = number
        definition.ROIName, definition.ROIGenerationAlgorithm = name, "MANUAL"
        definition.ReferencedFrameOfReferenceUID = source.frame_of_reference_uid
        drawn.ROIDisplayColor = [255, 0, 0]
        drawn.ContourSequence = [
            _contour(grid, source, k, outline) for k, outlines in contours.items() for outline in outlines
        ]
        observation.ObservationNumber, observation.RTROIInterpretedType, observation.ROIInterpreter = number, "GTV", ""
        dataset.StructureSetROISequence.append(definition)
        dataset.ROIContourSequence.append(drawn)
        dataset.RTROIObservationsSequence.append(observation)
    return dataset


def written(dataset: Dataset, path: Path) -> Path:
    """The structure set as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def _references(source: SeriesReference) -> Dataset:
    frame_of_reference, study, series = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = source.series_instance_uid
    series.ContourImageSequence = [_image(uid, 0) for uid in dict.fromkeys(source.sop_instance_uids)]
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = "1.2.840.10008.3.1.2.3.1", source.study_instance_uid
    study.RTReferencedSeriesSequence = [series]
    frame_of_reference.FrameOfReferenceUID = source.frame_of_reference_uid
    frame_of_reference.RTReferencedStudySequence = [study]
    return frame_of_reference


def _image(uid: str, frame: int) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", uid
    if frame:
        item.ReferencedFrameNumber = frame
    return item


def _contour(grid: Grid, source: SeriesReference, k: int, outline: np.ndarray) -> Dataset:
    points = grid.to_patient_mm(np.column_stack([np.full(len(outline), float(k)), outline]))
    item = Dataset()
    item.ContourImageSequence = [_image(*source.slices[k])] if 0 <= k < grid.shape[0] else []
    item.ContourGeometricType, item.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
    item.ContourData = [f"{value:.3f}" for value in points.ravel()]
    return item
