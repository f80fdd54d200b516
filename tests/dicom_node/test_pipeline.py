"""The stages of a case on files: an Enhanced CT, a CT with loss, and a CT with a structure to take out."""

import json
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import JPEGLSLossless, JPEGLSNearLossless

from dicom_node.checks.check import check_files
from dicom_node.jobs.cases import CaseFolder
from dicom_node.jobs.stages import Stage
from dicom_node.objects.provenance import result_context
from dicom_node.objects.source_series import SourceSeries
from dicom_node.offline import process_folder, with_order
from dicom_node.pipeline import STAGES, case_headers
from dicom_node.results.result_files import read_ct, read_lobes, read_result, write_lobes
from dicom_node.settings.config import NodeSettings, parse_settings
from dicom_node.structures.subtraction import SubtractionRule
from inference.ct.instances import ct_instances
from inference.errors import LossyCompressed
from inference.execution import ExecutionRecord
from inference.phantom.thorax import DigitalThorax
from tests.enhanced_ct import enhanced_ct
from tests.rt_structures import cylinder, structure_set, written
from tests.tools import error_lines

RUN = (Stage.READ, Stage.SEGMENT, Stage.PERFUSE, Stage.ENCODE, Stage.CHECK)
Process = Callable[..., CaseFolder]
DENSITOMETRIC = {"inference": {"perfusion": "densitometric"}}


@pytest.fixture(scope="module")
def settings() -> NodeSettings:
    kinds = ["parametric-map", "structure-set", "mr-twin", "segmentation", "report"]
    return with_order(parse_settings(DENSITOMETRIC), kinds, "generic")


@pytest.fixture(scope="module")
def process(settings: NodeSettings, tmp_path_factory: pytest.TempPathFactory) -> Process:
    """Run the stages on instances; the objects have passed the node's own check."""

    def run(instances: Sequence[Dataset], structures: Sequence[Dataset] = (), stages=RUN, **changed) -> CaseFolder:
        case = CaseFolder(tmp_path_factory.mktemp("data") / "cases" / "case", tell=lambda step: None)
        for number, dataset in enumerate(instances):
            written(dataset, case.received / f"{number:04d}.dcm")
        for number, dataset in enumerate(structures):
            written(dataset, case.structures / f"{number:04d}.dcm")
        for stage in stages:
            STAGES[stage](case, replace(settings, **changed))
        return case

    return run


@pytest.fixture(scope="module")
def single(process: Process, thorax: DigitalThorax) -> CaseFolder:
    return process(ct_instances(thorax.ct), stages=RUN[:3])


@pytest.fixture(scope="module")
def enhanced(process: Process, thorax: DigitalThorax) -> CaseFolder:
    """The same CT as two parts of a concatenation, the frames from the middle to both ends."""
    images = ct_instances(thorax.ct)
    order = sorted(range(len(images)), key=lambda k: abs(k - 20.1))
    return process(enhanced_ct([images[k] for k in order], parts=2))


def objects(case: CaseFolder, kind: str) -> list[FileDataset]:
    return [dcmread(path) for path in sorted(case.objects.glob(f"{kind}*.dcm"))]


def test_an_enhanced_ct_gives_the_same_result_voxel_for_voxel(single: CaseFolder, enhanced: CaseFolder) -> None:
    one, other = (read_result(case.result) for case in (single, enhanced))
    assert np.array_equal(read_ct(single.ct).hu, read_ct(enhanced.ct).hu)
    assert one.lobes.grid.matches(other.lobes.grid, tolerance_mm=1e-6)
    assert np.array_equal(one.lobes.labels, other.lobes.labels)
    assert np.array_equal(one.perfusion.values, other.perfusion.values)
    assert np.array_equal(one.regions.high, other.regions.high)
    assert np.array_equal(one.regions.low, other.regions.low)
    assert one.lobar == other.lobar
    uids = [
        result_context(read_ct(case.ct), case_headers(case), one, "").identifiers.result_id
        for case in (single, enhanced)
    ]
    assert uids[0] != uids[1]


def test_objects_of_an_enhanced_ct_are_valid(enhanced: CaseFolder) -> None:
    paths = enhanced.object_paths()
    assert len(paths) == 48 + 5
    for path in (p for p in paths if "mr-twin" not in p.name or p.name.endswith(("0001.dcm", "0048.dcm"))):
        assert error_lines(path) == [], path.name


def test_objects_of_an_enhanced_ct_name_its_frames(enhanced: CaseFolder) -> None:
    source = read_ct(enhanced.ct).source
    assert source.frame_numbers is not None
    assert len(set(source.slices)) == 48
    frames = objects(enhanced, "parametric-map")[0].PerFrameFunctionalGroupsSequence
    assert [reference(f.DerivationImageSequence[0].SourceImageSequence[0]) for f in frames] == list(source.slices)
    twins = objects(enhanced, "mr-twin")
    assert [reference(twin.SourceImageSequence[0]) for twin in twins] == list(source.slices)
    (structures,) = objects(enhanced, "structure-set")
    study = structures.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    whole = study.RTReferencedSeriesSequence[0].ContourImageSequence
    assert {image.ReferencedSOPInstanceUID for image in whole} == set(source.sop_instance_uids)
    assert len(whole) == 2
    assert not any("ReferencedFrameNumber" in image for image in whole)
    grid = read_ct(enhanced.ct).grid
    for roi in structures.ROIContourSequence:
        for contour in roi.ContourSequence:
            k = round(float(grid.to_index(np.array(contour.ContourData[:3], dtype=float))[0]))
            assert reference(contour.ContourImageSequence[0]) == source.slices[k]
    (report,) = objects(enhanced, "report")
    series = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    listed = [item.ReferencedSOPInstanceUID for part in series for item in part.ReferencedSOPSequence]
    assert len(listed) == len(set(listed)) == 2 + 2


def reference(item: Dataset) -> tuple[str, int]:
    assert item.ReferencedSOPClassUID.name == "Enhanced CT Image Storage"
    return str(item.ReferencedSOPInstanceUID), int(item.ReferencedFrameNumber)


def test_files_of_an_enhanced_ct_are_checked_for_a_person_as_well(enhanced: CaseFolder) -> None:
    report = check_files([*enhanced.instances(), *enhanced.object_paths()])
    assert report.faults == ()
    assert report.not_checked == ()
    assert len(report.checked) == 48 + 5


def next_frame(item: Dataset) -> None:
    item.ReferencedFrameNumber = int(item.ReferencedFrameNumber) % 24 + 1


def no_frame(item: Dataset) -> None:
    del item.ReferencedFrameNumber


def of_map(dataset: Dataset) -> Dataset:
    return dataset.PerFrameFunctionalGroupsSequence[7].DerivationImageSequence[0].SourceImageSequence[0]


def of_structures(dataset: Dataset) -> Dataset:
    return dataset.ROIContourSequence[1].ContourSequence[3].ContourImageSequence[0]


@pytest.mark.parametrize("change", [next_frame, no_frame])
@pytest.mark.parametrize(
    ("kind", "item", "code"),
    [
        ("parametric-map", of_map, "MAP_SOURCE_IMAGE"),
        ("segmentation.lobes", of_map, "SEGMENT_SOURCE_IMAGE"),
        ("mr-twin-0007", lambda dataset: dataset.SourceImageSequence[0], "TWIN_SOURCE_IMAGE"),
        ("structure-set", of_structures, "CONTOUR_"),
    ],
)
def test_a_wrong_frame_is_found(
    enhanced: CaseFolder,
    tmp_path: Path,
    kind: str,
    item: Callable[[Dataset], Dataset],
    code: str,
    change: Callable[[Dataset], None],
) -> None:
    (dataset,) = objects(enhanced, kind)
    change(item(dataset))
    path = written(dataset, tmp_path / "changed.dcm")
    found = {fault.code for fault in check_files([*enhanced.instances(), path]).faults}
    assert any(fault.startswith(code) for fault in found), found


# Made again


def test_the_same_bytes_are_made_again_and_no_object_is_missing_meanwhile(
    enhanced: CaseFolder, settings: NodeSettings
) -> None:
    """Another process may be sending them. What is no longer ordered goes, after everything else is there."""
    before = contents(enhanced)
    stray = enhanced.objects / "summary-pdf.dcm"
    stray.write_bytes(b"of an earlier run")
    is_over = Event()

    def looks() -> int:
        count = 0
        while not is_over.wait(0.002):
            count += 1
            broken = [name for name in before if (enhanced.objects / name).read_bytes()[128:132] != b"DICM"]
            assert broken == []
        return count

    for stage in (Stage.SEGMENT, Stage.PERFUSE):
        STAGES[stage](enhanced, settings)
    with ThreadPoolExecutor(1) as pool:
        watched = pool.submit(looks)
        STAGES[Stage.ENCODE](enhanced, settings)
        is_over.set()
        assert watched.result() > 0
    assert contents(enhanced) == before


def contents(case: CaseFolder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in case.object_paths()}


def test_a_notice_goes_when_there_is_a_result(enhanced: CaseFolder, settings: NodeSettings) -> None:
    written(dcmread(enhanced.object_paths()[0]), enhanced.notice / "refusal-notice.dcm")
    STAGES[Stage.CHECK](enhanced, settings)
    assert list(enhanced.notice.iterdir()) == []


def test_lobes_that_other_hardware_drew_give_other_uids(single: CaseFolder) -> None:
    """One voxel is enough: an archive would keep the old object under the same UID."""
    ct, result = read_ct(single.ct), read_result(single.result)
    values = result.perfusion.values.copy()
    where = tuple(np.argwhere(result.perfusion.lungs)[0])
    values[where] = np.nextafter(values[where], np.float32(2))
    labels = result.lobes.labels.copy()
    labels[where] = 1 + labels[where] % 5
    high = result.regions.high.copy()
    high[where] = ~high[where]
    others = [
        replace(result, perfusion=replace(result.perfusion, values=values)),
        replace(result, lobes=replace(result.lobes, labels=labels)),
        replace(result, regions=replace(result.regions, high=high)),
    ]
    contexts = [result_context(ct, case_headers(single), each, "") for each in (result, *others)]
    assert len({context.identifiers.result_id for context in contexts}) == 4
    assert len({context.identifiers.settings_sha256 for context in contexts}) == 1


def test_what_the_version_before_the_split_has_inferred_is_encoded(single: CaseFolder, tmp_path: Path) -> None:
    """Its result says nothing of how networks ran, and there is no file of the lobes alone."""
    for suffix in (".npz", ".json"):
        shutil.copy(single.result.with_suffix(suffix), tmp_path / f"result{suffix}")
    facts = json.loads((tmp_path / "result.json").read_text())
    del facts["execution"]
    (tmp_path / "result.json").write_text(json.dumps(facts))
    before, now = read_result(tmp_path / "result.npz"), read_result(single.result)
    assert before.execution == ()
    assert before.content_sha256() == now.content_sha256()


def test_lobes_come_back_from_their_file_as_they_were(single: CaseFolder, tmp_path: Path) -> None:
    found = read_lobes(single.lobes)
    record = ExecutionRecord("net", "cuda", "float16", (8, 8, 8), "half-precision", "OUT_OF_MEMORY", True)
    write_lobes(tmp_path / "lobes.npz", replace(found, execution=(record,)))
    again = read_lobes(tmp_path / "lobes.npz")
    assert np.array_equal(again.lobes.labels, found.lobes.labels)
    assert again.lobes.grid.matches(found.lobes.grid)
    assert (again.lobes.segmenter, again.findings) == (found.lobes.segmenter, found.findings)
    assert again.execution == (record,)


# With loss, and with a structure to take out


def test_a_ct_with_loss_is_refused_unless_the_site_flags_it(process: Process, thorax: DigitalThorax) -> None:
    with pytest.raises(LossyCompressed):
        process(with_loss(thorax), stages=[Stage.READ])


def with_loss(thorax: DigitalThorax) -> list[FileDataset]:
    images = ct_instances(thorax.ct)
    for dataset in images:
        dataset.LossyImageCompression = "01"
        dataset.LossyImageCompressionRatio = "12.5"
        dataset.LossyImageCompressionMethod = "ISO_15444_1"
    return images


@pytest.fixture(scope="module")
def flagged(process: Process, thorax: DigitalThorax) -> CaseFolder:
    """A CT with loss, and a structure set whose GTV is to be taken out."""
    slices, row, column = np.argwhere(thorax.tumour).mean(axis=0)
    gtv = cylinder(range(int(slices) - 2, int(slices) + 3), float(row), float(column), 6.0)
    drawn = structure_set(thorax.ct.grid, thorax.ct.source, {"GTV_1": gtv, "Heart": gtv})
    return process(with_loss(thorax), [drawn], accept_lossy=True, subtraction=SubtractionRule(("GTV.*",)))


def test_a_ct_with_loss_is_flagged_in_every_object(flagged: CaseFolder, single: CaseFolder) -> None:
    (finding,) = [f for f in read_result(flagged.result).findings if f.code == "LOSSY_COMPRESSION"]
    assert (finding.severity, finding.measured) == ("flag", 12.5)
    for dataset in (objects(flagged, kind)[0] for kind in ("parametric-map", "mr-twin", "segmentation")):
        assert dataset.LossyImageCompression == "01"
        assert dataset.LossyImageCompressionRatio == 12.5
        assert dataset.LossyImageCompressionMethod == "ISO_15444_1"
        assert "compressed with loss" in dataset.DerivationDescription
    assert "compressed with loss" in objects(flagged, "structure-set")[0].StructureSetDescription
    assert b"LOSSY_COMPRESSION" in (flagged.objects / "report.dcm").read_bytes()
    assert error_lines(flagged.objects / "parametric-map.dcm") == []
    assert not [f for f in read_result(single.result).findings if f.code == "LOSSY_COMPRESSION"]


def test_a_header_that_hides_the_loss_is_put_right_in_the_objects(process: Process, thorax: DigitalThorax) -> None:
    images = ct_instances(thorax.ct, transfer_syntax=JPEGLSLossless)
    for dataset in images:  # near-lossless by its syntax, and nothing else says so
        dataset.file_meta.TransferSyntaxUID = JPEGLSNearLossless
    case = process(images, stages=[Stage.READ], accept_lossy=True)
    ct = read_ct(case.ct)
    header = SourceSeries.of(case_headers(case), ct.source, ct.lossy).representative
    assert header.LossyImageCompression == "01"
    assert header.LossyImageCompressionMethod == "ISO_14495_1"
    assert 1 < header.LossyImageCompressionRatio < 10


def test_a_structure_is_taken_out_of_the_function_regions_of_every_object(
    thorax: DigitalThorax, flagged: CaseFolder, single: CaseFolder
) -> None:
    before, after = read_result(single.result), read_result(flagged.result)
    assert np.array_equal(before.lobes.labels, after.lobes.labels)
    assert np.array_equal(before.perfusion.values, after.perfusion.values)
    gone = (before.regions.high & ~after.regions.high) | (before.regions.low & ~after.regions.low)
    (finding,) = [f for f in after.findings if f.code == "STRUCTURE_SUBTRACTED"]
    assert finding.measured == pytest.approx(np.count_nonzero(gone) * thorax.ct.grid.voxel_volume_ml)
    assert finding.measured > 10
    assert not (after.regions.high & ~before.regions.high).any()
    shares = [sum(r.high_fraction + r.low_fraction for r in result.lobar.values()) for result in (before, after)]
    assert shares[1] < shares[0]
    (structures,) = objects(flagged, "structure-set")
    told = [str(roi.ROIDescription) for roi in structures.StructureSetROISequence if "^" in str(roi.ROIName)]
    assert told
    assert all("GTV_1" in text for text in told)
    assert b"STRUCTURE_SUBTRACTED" in (flagged.objects / "report.dcm").read_bytes()


def test_what_was_to_be_taken_out_is_part_of_every_uid(single: CaseFolder, settings: NodeSettings) -> None:
    ct, result = read_ct(single.ct), read_result(single.result)
    settled = [settings, replace(settings, subtraction=SubtractionRule(("GTV",)))]
    settled += [replace(settings, subtraction=SubtractionRule(*rule)) for rule in ((("GTV.*",),), (("GTV",), 5.0))]
    digests = [each.settings_digest() for each in settled]
    assert len(set(digests)) == len(digests)
    contexts = [
        result_context(ct, case_headers(single), replace(result, excluded_sha256=excluded), digests[1])
        for excluded in ("", "ab", "cd")
    ]
    assert len({context.identifiers.result_id for context in contexts}) == len(contexts)


def test_a_structure_set_beside_the_ct_in_a_folder_is_used(
    thorax: DigitalThorax, settings: NodeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[Path]] = {}

    def stop(case: CaseFolder, settings: NodeSettings) -> None:
        seen["structures"], seen["images"] = case.structure_sets(), case.instances()
        raise LossyCompressed("stopped by the test")

    monkeypatch.setitem(STAGES, Stage.READ, stop)
    for number, dataset in enumerate(ct_instances(thorax.ct)[:3]):
        written(dataset, tmp_path / "ct" / f"{number}.dcm")
    gtv = {"GTV": cylinder(range(20, 22), 50.0, 25.0, 6.0)}
    written(structure_set(thorax.ct.grid, thorax.ct.source, gtv), tmp_path / "ct" / "plan.dcm")
    with pytest.raises(LossyCompressed):
        process_folder(tmp_path / "ct", tmp_path / "out", settings, lambda step: None)
    assert len(seen["images"]) == 3
    assert len(seen["structures"]) == 1
