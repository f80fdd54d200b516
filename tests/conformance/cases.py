"""Complete results as files: the CT and every kind of object made from it by the engines that come with the node."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_node.objects.kinds import ObjectKind
from dicom_node.objects.mr_twin import encode_mr_twin
from dicom_node.objects.notice import Refusal, encode_notice
from dicom_node.objects.page import encode_summary_image, encode_summary_pdf
from dicom_node.objects.parametric_map import encode_parametric_map
from dicom_node.objects.provenance import ResultContext, result_context
from dicom_node.objects.report import encode_report
from dicom_node.objects.segmentation import FUNCTION, LOBES, encode_segmentation
from dicom_node.objects.structure_set import encode_structure_set
from dicom_node.results.summary import summary_pdf, summary_pixels
from inference.anatomy import Lobe, Side
from inference.ct.instances import ct_instances
from inference.ct.series import read_ct_series
from inference.engine import EngineSettings, PerfusionResult, build_engine
from inference.geometry import Grid
from inference.phantom.thorax import FRAME_OF_REFERENCE_UID, draw_thorax
from inference.volumes import CtVolume

THORAX, COARSE, A0001 = "digital thorax", "coarse anisotropic thorax", "A0001"

GRIDS = {
    THORAX: Grid.axial(
        (48, 96, 96), (6.0, 4.0, 4.0), (-190.0, -184.0, -152.0), frame_of_reference_uid=FRAME_OF_REFERENCE_UID
    ),
    COARSE: Grid.axial(
        (37, 58, 91), (8.0, 5.0, 3.9), (-176.0, -140.0, -158.0), frame_of_reference_uid=FRAME_OF_REFERENCE_UID
    ),
}
REFUSAL = Refusal("LUNG_VOLUME", "Both lungs together have 300 ml. Expected at least 800.", "segment")


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One CT, its result, and the objects made from it. An object is made when it is first asked for."""

    folder: Path
    ct: CtVolume
    headers: Sequence[Dataset]
    result: PerfusionResult
    context: ResultContext

    @property
    def ct_folder(self) -> Path:
        """Where the CT is, uncompressed: some readers know no JPEG-LS."""
        return self.folder / "ct"

    @property
    def grid(self) -> Grid:
        """The grid of the CT."""
        return self.ct.grid

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """Every region by its TG-263 name."""
        lobes, regions = self.result.lobes, self.result.regions
        sides = {side.tg263: lobes.lung(side) for side in Side}
        functional = {"Lungs^HighPerf": regions.high, "Lungs^LowPerf": regions.low}
        return {"Lungs": lobes.lungs, **sides, **{lobe.tg263: lobes.mask(lobe) for lobe in Lobe}, **functional}

    def series(self, kind: ObjectKind) -> Path:
        """Folder with all objects of a kind."""
        folder = self.folder / kind.value
        if not folder.exists():
            datasets = list(ENCODERS[kind](self))
            folder.mkdir()
            for number, dataset in enumerate(datasets, start=1):
                dataset.save_as(folder / f"{number:03}.dcm", enforce_file_format=True)
        return folder

    def paths(self, kind: ObjectKind) -> list[Path]:
        """All objects of a kind."""
        return sorted(self.series(kind).iterdir())

    def one(self, kind: ObjectKind) -> Path:
        """The only object of a kind."""
        (path,) = self.paths(kind)
        return path


ENCODERS: Mapping[ObjectKind, Callable[[Case], Iterable[Dataset]]] = {
    ObjectKind.PARAMETRIC_MAP: lambda c: [encode_parametric_map(c.result.perfusion, c.context)],
    ObjectKind.STRUCTURE_SET: lambda c: [encode_structure_set(c.result.lobes, c.result.regions, c.context)],
    ObjectKind.MR_TWIN: lambda c: encode_mr_twin(c.result.perfusion, c.context),
    ObjectKind.SEGMENTATION: lambda c: [
        encode_segmentation(c.result.lobes, c.result.regions, c.context, role) for role in (LOBES, FUNCTION)
    ],
    ObjectKind.REPORT: lambda c: [_report(c)],
    ObjectKind.SUMMARY_PDF: lambda c: [encode_summary_pdf(summary_pdf(c.ct, c.result), c.context)],
    ObjectKind.SUMMARY_IMAGE: lambda c: [encode_summary_image(summary_pixels(c.ct, c.result), c.context)],
    ObjectKind.REFUSAL_NOTICE: lambda c: [encode_notice(c.headers, REFUSAL)],
}


def _report(case: Case) -> Dataset:
    lobes, _ = case.paths(ObjectKind.SEGMENTATION)
    segmentation, parametric_map = (
        dcmread(path, stop_before_pixels=True) for path in (lobes, case.one(ObjectKind.PARAMETRIC_MAP))
    )
    return encode_report(case.result, case.context, segmentation, parametric_map)


def thorax_instances(name: str) -> list[Dataset]:
    """The digital thorax as a scanner would send it."""
    return list(ct_instances(draw_thorax(GRIDS[name]).ct))


def a0001_instances(test_data: Path) -> list[Dataset]:
    """A real chest CT: 64 slices of 512 x 512 (Lung-PET-CT-Dx A0001)."""
    return [dcmread(path) for path in sorted((test_data / "ct" / "lungdx_A0001").glob("*.dcm"))]


def make_case(datasets: list[Dataset], folder: Path) -> Case:
    """Write a CT uncompressed and run the engines on it."""
    ct = read_ct_series(datasets)
    (folder / "ct").mkdir()
    for dataset in datasets:
        if dataset.file_meta.TransferSyntaxUID.is_compressed:
            dataset.decompress(generate_instance_uid=False)
        dataset.save_as(folder / "ct" / f"{dataset.SOPInstanceUID}.dcm", enforce_file_format=True)
        del dataset.PixelData
    result = build_engine(EngineSettings(perfusion="densitometric")).run(ct)
    return Case(folder, ct, datasets, result, result_context(ct, datasets, result, "settings"))
