from dataclasses import replace

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from dicom_node.checks.check import CHECKS, check_files, check_result
from dicom_node.checks.faults import RULES, Need
from dicom_node.checks.source_ct import SourceCt
from dicom_node.objects.identifiers import uid_from
from dicom_node.objects.kinds import ObjectKind
from dicom_node.objects.notice import Refusal, encode_notice
from dicom_node.objects.profile import Sets, StructureSetProfile
from dicom_node.objects.segmentation import LOBES
from dicom_node.objects.structure_set import encode_structure_set
from inference.anatomy import Lobe
from inference.geometry import Grid
from inference.volumes import FunctionRegions, LobeMap, PerfusionMap, SeriesReference
from tests.dicom_node.checks.conftest import ChestFiles, codes_of, encoded, parsed, result_of, write
from tests.dicom_node.checks.test_parametric_map import head_first_in_file
from tests.dicom_node.objects.conftest import (
    FRAME_OF_REFERENCE_UID,
    MODEL,
    RULE,
    SEGMENTER,
    Chest,
    ct_header,
    make_chest,
)

POSITIONS = ["FFS", "HFP", "HFS-DESCENDING"]
WITHOUT_PAGES = (
    ObjectKind.PARAMETRIC_MAP,
    ObjectKind.STRUCTURE_SET,
    ObjectKind.MR_TWIN,
    ObjectKind.SEGMENTATION,
    ObjectKind.REPORT,
)


def ct_files(files):
    return {f"ct.{k}.dcm": content for k, content in enumerate(files.ct)}


def labelled_chest(labels, grid):
    """A chest with these lobes, perfusion rising to the feet, and function regions above and below its mean."""
    values = np.broadcast_to(1 + np.linspace(-0.3, 0.3, labels.shape[0])[:, None, None], labels.shape) * (labels > 0)
    values = (values / values[labels > 0].mean()).astype(np.float32)
    high = values >= 1
    datasets = [ct_header(grid, k) for k in range(grid.shape[0])]
    reference = SeriesReference(
        datasets[0].StudyInstanceUID,
        datasets[0].SeriesInstanceUID,
        FRAME_OF_REFERENCE_UID,
        tuple(str(dataset.SOPInstanceUID) for dataset in datasets),
    )
    return Chest(
        datasets,
        reference,
        grid,
        LobeMap(labels, grid, SEGMENTER),
        PerfusionMap(values, labels > 0, grid, MODEL),
        FunctionRegions(high, (labels > 0) & ~high, grid, RULE),
    )


def boxes(shape):
    """Two lungs and five lobes as boxes; the right lung at low columns."""
    labels = np.zeros(shape, dtype=np.uint8)
    half, rows, columns = shape[0] // 2, shape[1], shape[2]
    labels[1:half, 2 : rows - 2, 1 : columns // 2 - 1] = Lobe.RLL
    labels[half:-1, 2 : rows // 2, 1 : columns // 2 - 1] = Lobe.RML
    labels[half:-1, rows // 2 : rows - 2, 1 : columns // 2 - 1] = Lobe.RUL
    labels[1:half, 2 : rows - 2, columns // 2 + 1 : columns - 1] = Lobe.LLL
    labels[half:-1, 2 : rows - 2, columns // 2 + 1 : columns - 1] = Lobe.LUL
    return labels


def test_the_objects_of_a_result_have_no_fault(files, tmp_path):
    assert {name.split(".")[0] for name in files.objects} == {*CHECKS} - {ObjectKind.REFUSAL_NOTICE}
    assert check_result(write(files.objects, tmp_path), files.headers(), files.result) == ()


@pytest.mark.parametrize("position", POSITIONS)
def test_every_patient_position_is_understood(tmp_path, position):
    files = ChestFiles.of(make_chest(position), WITHOUT_PAGES)
    assert check_result(write(files.objects, tmp_path), files.headers()[::-1], files.result) == ()
    assert check_files(write(files.objects | ct_files(files), tmp_path)).faults == ()


def test_a_crooked_ct_is_understood(tmp_path):
    """Axes turned by 9 degrees about two axes: rounding in plane moves points off their plane."""
    a, b = np.radians((9.0, 9.0))
    turn_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    turn_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = turn_x @ turn_y @ np.array([[0, 0, 3.0], [0, 0.9, 0], [0.8, 0, 0]])
    affine[:3, 3] = [-11.3, 40.7, -512.9]
    shape = (16, 20, 24)
    files = ChestFiles.of(labelled_chest(boxes(shape), Grid(shape, affine, FRAME_OF_REFERENCE_UID)), WITHOUT_PAGES)
    assert check_result(write(files.objects, tmp_path), files.headers(), files.result) == ()


def test_lung_at_the_edge_of_the_image_is_within_it(tmp_path):
    labels = np.pad(boxes((14, 21, 27))[:, 2:-2, 1:-1], ((1, 1), (0, 0), (0, 0)))
    assert labels[0].size % 8  # frames of the segmentation end within a byte
    grid = Grid.axial(
        labels.shape, (3.0, 0.7, 0.9), (0.333, -4.001, 7.0), frame_of_reference_uid=FRAME_OF_REFERENCE_UID
    )
    files = ChestFiles.of(labelled_chest(labels, grid), WITHOUT_PAGES)
    assert check_result(write(files.objects, tmp_path), files.headers(), files.result) == ()
    assert check_files(write(files.objects | ct_files(files), tmp_path)).faults == ()


def test_anatomy_apart_from_function_and_another_separator_are_no_fault(files, tmp_path):
    chest = files.chest
    profile = StructureSetProfile(name="other", name_separator="_", sets=Sets.TWO, most_points=100)
    objects = {
        f"{role}.dcm": encoded(encode_structure_set(chest.lobes, chest.regions, chest.context, profile, role))
        for role in profile.contents()
    }
    assert len(objects) == 2
    every = files.of_kind(ObjectKind.STRUCTURE_SET) | objects
    assert check_result(write(every, tmp_path), files.headers(), files.result) == ()


def test_a_result_without_middle_lobe_and_high_region_is_no_fault(tmp_path):
    chest = make_chest()
    labels = np.where(chest.lobes.labels == Lobe.RML, np.uint8(Lobe.RLL), chest.lobes.labels)
    empty = np.zeros_like(chest.regions.high)
    low = chest.lobes.lungs.copy()
    chest = replace(
        chest, lobes=LobeMap(labels, chest.grid, SEGMENTER), regions=FunctionRegions(empty, low, chest.grid, RULE)
    )
    files = ChestFiles.of(chest, WITHOUT_PAGES)
    assert check_result(write(files.objects, tmp_path), files.headers(), files.result) == ()


def test_objects_of_another_result_are_refused(files, tmp_path):
    chest = files.chest
    labels = np.where(chest.lobes.labels == Lobe.LUL, np.uint8(Lobe.LLL), chest.lobes.labels)
    values = np.where(chest.perfusion.lungs, np.float32(1), np.float32(0))
    other = replace(
        chest,
        lobes=LobeMap(labels, chest.grid, SEGMENTER),
        perfusion=PerfusionMap(values, chest.perfusion.lungs, chest.grid, MODEL),
    )
    faults = check_result(write(files.objects, tmp_path), files.headers(), result_of(other))
    assert codes_of(faults) == {
        "MAP_VALUES_DIFFER",
        "ROI_SHAPE_DIFFERS",
        "SEGMENT_SHAPE_DIFFERS",
        "TWIN_VALUES_DIFFER",
        "REPORT_FIGURES_DIFFER",
    }


def test_a_notice_of_refusal_has_no_fault(files, tmp_path):
    notice = encode_notice(files.headers(), Refusal("TOO_FEW_SLICES", "There are 14 slices.", "read"))
    report = check_files(write({"notice.dcm": encoded(notice)} | ct_files(files), tmp_path))
    assert report.faults == ()
    assert report.checked == (str(tmp_path / "notice.dcm"),)


def test_an_object_that_the_node_does_not_make_is_not_sent(files, tmp_path):
    stray = ct_files(files)["ct.0.dcm"].replace(b"1.2.840.10008.5.1.4.1.1.2\0", b"1.2.840.10008.5.1.4.1.1.1\0")
    (fault,) = check_result(write({"stray.dcm": stray}, tmp_path), files.headers(), files.result)
    assert (fault.code, fault.object) == ("UNREADABLE", "stray.dcm")


def test_a_missing_header_is_an_error_of_the_caller(files):
    with pytest.raises(ValueError, match=r"1 image\(s\) of the CT are absent"):
        check_result([], files.headers()[1:], files.result)


def test_a_ct_that_does_not_say_where_it_lies_is_no_source(files):
    headers = files.headers()
    del headers[3].ImagePositionPatient
    with pytest.raises(ValueError, match="does not say where it lies"):
        SourceCt.of(headers)


def test_a_ct_of_impossible_size_is_no_source(files):
    headers = files.headers()
    for header in headers:
        header.Rows = header.Columns = 60000
    with pytest.raises(ValueError, match="more pixels than any CT has"):
        SourceCt.of(headers)


# Any files, for people.


def test_objects_with_their_ct_have_no_fault(files, tmp_path):
    report = check_files(write(files.objects | ct_files(files), tmp_path))
    assert report.faults == ()
    assert set(report.checked) == {str(tmp_path / name) for name in files.objects}
    assert report.not_checked == ()
    assert {untried.need for untried in report.untried} == {Need.RESULT}


def test_without_a_ct_the_report_says_what_could_not_be_tried(files, tmp_path):
    report = check_files(write(files.of_kind(ObjectKind.STRUCTURE_SET), tmp_path))
    assert report.faults == ()
    (untried,) = report.untried
    assert untried.need is Need.CT
    assert {"CONTOUR_OFF_PLANE", "PATIENT_DIFFERS", "ROI_SHAPE_DIFFERS"} <= set(untried.codes) <= set(RULES)


def test_what_is_said_of_a_whole_series_is_said_once(files, tmp_path):
    report = check_files(write(files.of_kind(ObjectKind.MR_TWIN), tmp_path))
    (untried,) = report.untried
    assert untried.object == f"{tmp_path / 'mr-twin.1.dcm'} and {len(files.ct) - 1} more"


def test_without_a_segmentation_the_shape_is_not_tried(files, tmp_path):
    report = check_files(write(files.of_kind(ObjectKind.STRUCTURE_SET) | ct_files(files), tmp_path))
    assert report.faults == ()
    assert {(u.need, u.codes) for u in report.untried} == {
        (Need.MASKS, ("ROI_SHAPE_DIFFERS",)),
        (Need.RESULT, ("ROI_ABSENT", "ROI_UNKNOWN")),
    }


def test_a_report_alone_is_not_blamed_for_what_it_refers_to(files, tmp_path):
    report = check_files(write(files.of_kind(ObjectKind.REPORT) | ct_files(files), tmp_path))
    assert report.faults == ()
    assert (Need.OBJECTS, ("REPORT_REFERENCE", "REPORT_SEGMENT")) in {(u.need, u.codes) for u in report.untried}


@pytest.mark.parametrize(
    ("kind", "beside", "code"),
    [
        (ObjectKind.STRUCTURE_SET, [ObjectKind.SEGMENTATION], "ROI_SHAPE_DIFFERS"),
        (ObjectKind.MR_TWIN, [ObjectKind.PARAMETRIC_MAP], "TWIN_VALUES_DIFFER"),
        (ObjectKind.REPORT, [ObjectKind.SEGMENTATION, ObjectKind.PARAMETRIC_MAP], "REPORT_FIGURES_DIFFER"),
    ],
)
def test_segmentation_and_map_stand_for_the_result(files, tmp_path, kind, beside, code):
    """The objects beside are those of another result; each is right in itself."""
    chest = files.chest
    shifted = np.roll(chest.lobes.labels, 1, axis=2)
    values = np.roll(chest.perfusion.values, 1, axis=2)
    high, low = (np.roll(mask, 1, axis=2) for mask in (chest.regions.high, chest.regions.low))
    values = np.where(shifted > 0, values**2, 0).astype(np.float32)
    values /= values[shifted > 0].mean()
    other = ChestFiles.of(
        replace(
            chest,
            lobes=LobeMap(shifted, chest.grid, SEGMENTER),
            perfusion=PerfusionMap(values, shifted > 0, chest.grid, MODEL),
            regions=FunctionRegions(high, low, chest.grid, RULE),
        ),
        beside,
    )
    report = check_files(write(files.of_kind(kind) | other.objects | ct_files(files), tmp_path))
    assert codes_of(report.faults) == {code}


def test_frames_in_another_order_do_not_make_the_twin_wrong(files, tmp_path):
    """The order is a fault of the map; its values are taken by position."""
    pm = parsed(files.objects["parametric-map.dcm"])
    head_first_in_file(pm)
    objects = files.of_kind(ObjectKind.MR_TWIN) | {"map.dcm": encoded(pm)} | ct_files(files)
    assert codes_of(check_files(write(objects, tmp_path)).faults) == {"MAP_FRAME_ORDER"}


def test_two_segmentations_of_one_ct_are_not_chosen_from(files, tmp_path):
    chest = files.chest
    identifiers = replace(chest.context.identifiers, predecessor="2.25.1")
    again = parsed(files.objects["segmentation.1.dcm"])
    again.SOPInstanceUID = identifiers.instance_uid(LOBES)
    again.SeriesInstanceUID = identifiers.series_uid(LOBES)
    kinds = (ObjectKind.STRUCTURE_SET, ObjectKind.SEGMENTATION)
    objects = files.of_kind(*kinds) | {"again.dcm": encoded(again)} | ct_files(files)
    report = check_files(write(objects, tmp_path))
    assert report.faults == ()
    assert Need.MASKS in {untried.need for untried in report.untried}


def test_of_two_ct_series_the_one_referred_to_is_the_source(files, tmp_path):
    """A second reconstruction of the same study, in the same frame of reference, at other positions."""
    other = {}
    for k, content in enumerate(files.ct):
        image = parsed(content)
        image.SeriesInstanceUID = uid_from("test", "other series")
        image.SOPInstanceUID = uid_from("test", "other", str(k))
        x, y, z = image.ImagePositionPatient
        image.ImagePositionPatient = [x, y, float(z) + 1.0]
        other[f"other.{k}.dcm"] = encoded(image)
    report = check_files(write(files.objects | ct_files(files) | other, tmp_path))
    assert report.faults == ()
    assert Need.CT not in {untried.need for untried in report.untried}


def test_what_the_node_does_not_make_is_named(tmp_path):
    original = Dataset()
    original.SOPClassUID, original.SOPInstanceUID = MRImageStorage, "2.25.1"
    original.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    original.file_meta = FileMetaDataset()
    original.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    (path,) = write({"mr.dcm": encoded(original)}, tmp_path)
    report = check_files([path])
    assert (report.faults, report.checked) == ((), ())
    ((other,),) = [report.not_checked]
    assert (other.file, other.reason) == (str(path), "an MR image that is not derived")


@pytest.mark.parametrize("content", [b"", b"DICM", b"not DICOM at all\n" * 50, bytes(range(256)) * 4])
def test_a_file_that_is_no_dicom_is_unreadable(tmp_path, content):
    (fault,) = check_files(write({"junk": content}, tmp_path)).faults
    assert (fault.code, fault.object) == ("UNREADABLE", str(tmp_path / "junk"))


def test_a_file_that_is_absent_is_unreadable(tmp_path):
    assert codes_of(check_files([tmp_path / "nothing.dcm"]).faults) == {"UNREADABLE"}


@pytest.mark.parametrize("kind", [kind for kind in CHECKS if kind is not ObjectKind.REFUSAL_NOTICE])
def test_a_file_that_ends_too_early_never_passes(files, tmp_path, kind):
    name, content = next(iter(files.of_kind(kind).items()))
    for part in (0.1, 0.35, 0.6, 0.85, 0.999):
        paths = write({name: content[: int(part * len(content))]}, tmp_path)
        assert check_files(paths).faults, part
        faults = check_result(paths, files.headers(), files.result)
        assert faults, part
    if kind in (ObjectKind.PARAMETRIC_MAP, ObjectKind.SEGMENTATION, ObjectKind.MR_TWIN):  # these end with pixels
        assert faults[0].sentence.startswith("it ends within ")


def test_a_file_with_broken_bytes_never_raises(files, tmp_path):
    drawn = np.random.default_rng(5)
    ct = ct_files(files)
    for name in ("parametric-map.dcm", "mr-twin.7.dcm", "segmentation.1.dcm", "report.dcm", "summary-image.dcm"):
        for _ in range(3):
            broken = np.frombuffer(files.objects[name], np.uint8).copy()
            places = drawn.integers(132, min(len(broken), 9000), 12)
            broken[places] = drawn.integers(0, 256, 12)
            check_files(write(ct | {name: broken.tobytes()}, tmp_path))


@pytest.mark.parametrize("folder", ["rt", "pm", "odd", "nm"])
def test_foreign_files_never_raise(test_data, folder):
    paths = sorted(path for path in (test_data / folder).rglob("*") if path.is_file())
    report = check_files(paths)
    assert report.faults or report.not_checked
    for path in paths:
        check_files([path])
