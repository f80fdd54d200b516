"""Real input, real peers: A0001 in by dcmtk, results in Orthanc, read back by programs that are not ours."""

import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import Dataset, dcmread

from dicom_node.attempts import CaseState
from dicom_node.objects.structure_set import StructureSetOptions
from dicom_node.result_files import read_ct, read_result
from inference.anatomy import Lobe, Side
from inference.engine import PerfusionResult
from tests.peers import Orthanc, orthanc, program, storescu
from tests.running_node import RunningNode, running_node
from tests.tools import error_lines, tool


class Chain:
    """A0001 after its way through node and Orthanc; made once for this file."""

    def __init__(self, folder: Path, node: RunningNode, pacs: Orthanc, ct: Path) -> None:
        self.folder, self.node, self.pacs, self.ct = folder, node, pacs, ct

    def stored(self) -> dict[str, bytes]:
        """What Orthanc holds, by modality and SOP Instance UID."""
        found = {}
        for instance in self.pacs.get("/instances"):
            content = self.pacs.file(instance)
            header = dcmread(BytesIO(content), stop_before_pixels=True)
            found[f"{header.Modality} {header.SOPInstanceUID}"] = content
        return found

    def one(self, modality: str) -> Path:
        """The one object of that modality, as Orthanc gives it out."""
        (content,) = [c for key, c in self.stored().items() if key.startswith(modality)]
        path = self.folder / f"{modality}.dcm"
        path.write_bytes(content)
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
    with orthanc(folder / "orthanc") as pacs, running_node(folder / "node", [pacs.address]) as node:
        sent = storescu(node.address, sorted(ct.glob("*.dcm")), "-xt", "-aet", "TPS")
        assert sent.returncode == 0, sent.stderr
        assert [case.state for case in node.finished_cases()] == [CaseState.DELIVERED], node.log()
        yield Chain(folder, node, pacs, ct)


def test_pacs_holds_one_map_and_one_structure_set_in_the_study_of_the_ct(chain: Chain) -> None:
    source = chain.header()
    headers = [dcmread(BytesIO(c), stop_before_pixels=True) for c in chain.stored().values()]
    assert sorted(h.SOPClassUID.name for h in headers) == ["Parametric Map Storage", "RT Structure Set Storage"]
    for header in headers:
        assert header.StudyInstanceUID == source.StudyInstanceUID
        assert header.PatientID == source.PatientID
        assert header.FrameOfReferenceUID == source.FrameOfReferenceUID
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
        str(chain.one("OT")),
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
    command = [tool("plastimatch"), "convert", "--input", str(chain.one("RTSTRUCT")), "--referenced-ct"]
    command += [str(chain.decompressed()), "--output-prefix", str(out), "--prefix-format", "nii.gz", *mode]
    subprocess.run(command, check=True, capture_output=True)
    result, labels = chain.result(), chain.result().lobes
    separator = StructureSetOptions().name_separator
    masks = {
        "Lungs": labels.lungs,
        **{side.tg263: labels.lung(side) for side in Side},
        **{lobe.tg263: labels.mask(lobe) for lobe in Lobe},
        f"Lungs{separator}HighPerf": result.regions.high,
        f"Lungs{separator}LowPerf": result.regions.low,
    }
    found = {path.name.removesuffix(".nii.gz"): path for path in out.glob("*.nii.gz")}
    for name, mask in masks.items():
        key = name if name in found else name.replace(separator, "_")
        image = sitk.DICOMOrient(sitk.ReadImage(str(found[key])), "LPS")
        seen = sitk.GetArrayFromImage(image) > 0
        dice = 2 * np.count_nonzero(seen & mask) / (np.count_nonzero(seen) + np.count_nonzero(mask))
        assert dice >= 0.98, f"{name}: Dice {dice:.4f}"


@pytest.mark.parametrize("modality", ["OT", "RTSTRUCT"])
def test_dciodvfy_finds_no_error(chain: Chain, modality: str) -> None:
    assert error_lines(chain.one(modality)) == []


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
