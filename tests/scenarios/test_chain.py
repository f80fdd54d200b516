"""Real input, real peers: A0001 in by dcmtk, results in Orthanc, read back by programs that are not ours."""

import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import Dataset, dcmread

from dicom_node.jobs.attempts import CaseState
from dicom_node.objects.kinds import OBJECT_SERIES, ObjectKind
from dicom_node.results.result_files import read_ct, read_result
from inference.anatomy import Lobe, Side
from inference.engine import PerfusionResult
from tests.peers import Orthanc, orthanc, program, storescu
from tests.running_node import RunningNode, perfnode, running_node
from tests.tools import error_lines, tool

KINDS = [kind for kind in ObjectKind if kind is not ObjectKind.REFUSAL_NOTICE]


class Chain:
    """A0001 after its way through node and Orthanc; made once for this file."""

    def __init__(self, folder: Path, node: RunningNode, pacs: Orthanc, ct: Path) -> None:
        self.folder, self.node, self.pacs, self.ct = folder, node, pacs, ct

    def stored(self) -> dict[str, bytes]:
        """What Orthanc holds, by series number and SOP Instance UID."""
        found = {}
        for instance in self.pacs.get("/instances"):
            content = self.pacs.file(instance)
            header = dcmread(BytesIO(content), stop_before_pixels=True)
            found[f"{header.SeriesNumber} {header.SOPInstanceUID}"] = content
        return found

    def all(self, kind: ObjectKind) -> list[Path]:
        """Every object of a kind, as Orthanc gives it out."""
        number = f"{OBJECT_SERIES[kind].series_number} "
        paths = []
        for key, content in self.stored().items():
            if key.startswith(number):
                paths.append(self.folder / f"{key.replace(' ', '-')}.dcm")
                paths[-1].write_bytes(content)
        return paths

    def one(self, kind: ObjectKind) -> Path:
        """The one object of a kind, as Orthanc gives it out."""
        (path,) = self.all(kind)
        return path

    def decompressed(self) -> Path:
        """The CT in implicit VR, by dcmtk."""
        folder = self.folder / "plain"
        if not folder.exists():
            folder.mkdir()
            for path in sorted(self.ct.glob("*.dcm")):
                subprocess.run([program("dcmdjpls"), "+ti", str(path), str(folder / path.name)], check=True)
        return folder

    def result(self) -> PerfusionResult:
        case = next(c for c in self.node.cases() if c.state is CaseState.DELIVERED)
        return read_result(self.node.folder_of(case).result)

    def header(self) -> Dataset:
        return dcmread(next(self.ct.glob("*.dcm")), stop_before_pixels=True)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory, test_data: Path) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("chain")
    ct = test_data / "ct" / "lungdx_A0001"
    orders = [f"objects = {[kind.value for kind in KINDS]}"]
    with orthanc(folder / "orthanc") as pacs, running_node(folder / "node", [pacs.address], orders=orders) as node:
        sent = storescu(node.address, sorted(ct.glob("*.dcm")), "-xt", "-aet", "TPS")
        assert sent.returncode == 0, sent.stderr
        assert [case.state for case in node.finished_cases()] == [CaseState.DELIVERED], node.log()
        yield Chain(folder, node, pacs, ct)


def test_pacs_holds_every_kind_in_the_study_of_the_ct(chain: Chain) -> None:
    source = chain.header()
    headers = [dcmread(BytesIO(c), stop_before_pixels=True) for c in chain.stored().values()]
    several = {ObjectKind.MR_TWIN: 64, ObjectKind.SEGMENTATION: 2}
    for kind in KINDS:
        series = OBJECT_SERIES[kind]
        found = [h for h in headers if (h.SOPClassUID, h.SeriesNumber) == (series.sop_class_uid, series.series_number)]
        assert len(found) == several.get(kind, 1), kind
    assert len(headers) == len(KINDS) - 2 + sum(several.values())
    for header in headers:
        assert header.StudyInstanceUID == source.StudyInstanceUID
        assert header.PatientID == source.PatientID
        assert header.get("FrameOfReferenceUID", source.FrameOfReferenceUID) == source.FrameOfReferenceUID
        assert header.SeriesInstanceUID != source.SeriesInstanceUID


def test_the_same_ct_sent_decompressed_in_implicit_vr_gives_the_same_objects(chain: Chain) -> None:
    before = chain.stored()
    sent = storescu(chain.node.address, sorted(chain.decompressed().glob("*.dcm")), "-xi")
    assert sent.returncode == 0, sent.stderr
    cases = chain.node.finished_cases(2)
    assert {case.state for case in cases} == {CaseState.DELIVERED}
    assert chain.stored() == before


def test_dcmqi_reads_the_map_slice_by_slice_as_it_was_computed(chain: Chain) -> None:
    out = chain.folder / "dcmqi"
    out.mkdir(exist_ok=True)
    command = [
        tool("paramap2itkimage"),
        "--inputDICOM",
        str(chain.one(ObjectKind.PARAMETRIC_MAP)),
        "--outputDirectory",
        str(out),
        "-t",
        "nrrd",
    ]
    subprocess.run(command, check=True, capture_output=True)
    image = sitk.ReadImage(str(next(out.glob("*.nrrd"))))
    perfusion = chain.result().perfusion
    np.testing.assert_allclose(sitk.GetArrayFromImage(image), 100.0 * perfusion.values, rtol=1e-5, atol=1e-3)
    last = (image.GetSize()[0] - 1, 0, image.GetSize()[2] - 1)
    expected = perfusion.grid.to_patient_mm(np.array([last[2], last[1], last[0]], dtype=float))
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(last), expected, atol=0.01)
    # A map that is the same upside down would prove nothing.
    sums = perfusion.values.sum(axis=(1, 2))
    assert not np.allclose(sums, sums[::-1], rtol=0.2)


@pytest.mark.parametrize("mode", [(), ("--xor-contours",)], ids=["filled", "xor"])
def test_plastimatch_finds_every_roi_where_our_masks_are(chain: Chain, mode: tuple[str, ...]) -> None:
    out = chain.folder / f"plastimatch{len(mode)}"
    command = [tool("plastimatch"), "convert", "--input", str(chain.one(ObjectKind.STRUCTURE_SET)), "--referenced-ct"]
    command += [str(chain.decompressed()), "--output-prefix", str(out), "--prefix-format", "nii.gz", *mode]
    subprocess.run(command, check=True, capture_output=True)
    result, labels = chain.result(), chain.result().lobes
    masks = {
        "Lungs": labels.lungs,
        **{side.tg263: labels.lung(side) for side in Side},
        **{lobe.tg263: labels.mask(lobe) for lobe in Lobe},
        "Lungs^HighPerf": result.regions.high,
        "Lungs^LowPerf": result.regions.low,
    }
    found = {path.name.removesuffix(".nii.gz"): path for path in out.glob("*.nii.gz")}
    for name, mask in masks.items():
        key = name if name in found else name.replace("^", "_")
        image = sitk.DICOMOrient(sitk.ReadImage(str(found[key])), "LPS")
        seen = sitk.GetArrayFromImage(image) > 0
        dice = 2 * np.count_nonzero(seen & mask) / (np.count_nonzero(seen) + np.count_nonzero(mask))
        assert dice >= 0.98, f"{name}: Dice {dice:.4f}"


@pytest.mark.parametrize("kind", KINDS)
def test_dciodvfy_finds_no_error(chain: Chain, kind: ObjectKind) -> None:
    assert [line for path in chain.all(kind) for line in error_lines(path)] == []


def test_our_own_checker_finds_nothing_in_what_pacs_gives_out(chain: Chain) -> None:
    folder = chain.folder / "given-out"
    folder.mkdir()
    for key, content in chain.stored().items():
        (folder / f"{key.replace(' ', '-')}.dcm").write_bytes(content)
    done = perfnode("check", str(folder), str(chain.ct))
    assert done.returncode == 0, done.stdout
    assert f"{len(chain.stored())} object(s) checked, 0 faults" in done.stdout


def test_lungs_and_lobes_of_a0001_are_plausible(chain: Chain) -> None:
    case = next(c for c in chain.node.cases() if c.state is CaseState.DELIVERED)
    ct, lobes = read_ct(chain.node.folder_of(case).ct), chain.result().lobes
    total_ml = sum(lobes.volume_ml(lobe) for lobe in Lobe)
    assert 4500 <= total_ml <= 6500
    assert all(lobes.volume_ml(lobe) > 100 for lobe in Lobe)
    x, _, z = ct.grid.coordinates_mm()
    x, z = np.broadcast_to(x, ct.grid.shape), np.broadcast_to(z, ct.grid.shape)
    assert x[lobes.lung(Side.LEFT)].mean() > x[lobes.lung(Side.RIGHT)].mean() + 80
    for upper, lower in ((Lobe.RUL, Lobe.RLL), (Lobe.LUL, Lobe.LLL), (Lobe.RUL, Lobe.RML)):
        assert z[lobes.mask(upper)].mean() > z[lobes.mask(lower)].mean()


def test_no_patient_data_is_in_the_log(chain: Chain) -> None:
    source = chain.header()
    log = chain.node.log()
    assert '"delivered"' in log
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "SeriesInstanceUID"):
        assert str(source[keyword].value) not in log
