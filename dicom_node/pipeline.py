"""From a received CT series to objects delivered to PACS.

    received series ── read ──▶ CtVolume ── infer ──▶ PerfusionResult ── encode ──▶ objects ── deliver ──▶ PACS, TPS
                                                │ lungs and lobes → perfusion → function regions (inference.engine)

Every stage is a plain function from files of a case to files of the same case, so that it can be repeated: the same
input gives the same bytes and the same UIDs. What a stage makes is on disk before the journal says so, and `deliver`
sends only what is on disk. A restart repeats at most one stage. `jobs` makes the stages durable and runs each in a
process of its own (`child`); `perfnode process` runs the same functions without a network.
"""

from collections.abc import Callable

from pydicom import Dataset, dcmread

from dicom_node.cases import CaseFolder
from dicom_node.config import NodeSettings
from dicom_node.durable_files import make_directory, written_durably
from dicom_node.objects.kinds import ObjectKind
from dicom_node.objects.parametric_map import encode_parametric_map
from dicom_node.objects.provenance import ResultContext, result_context
from dicom_node.objects.structure_set import encode_structure_set
from dicom_node.result_files import read_ct, read_result, write_ct, write_result
from dicom_node.stages import Stage
from dicom_node.summary import draw_summary
from inference.ct_series import read_ct_series
from inference.engine import PerfusionResult, build_engine


def read(case: CaseFolder, settings: NodeSettings) -> None:
    """Received instances → CT volume.

    Raises:
        UnusableSeries: the instances are no CT volume; the case is rejected.
    """
    case.show_progress("reading the series")
    datasets = [dcmread(path) for path in case.instances()]
    write_ct(case.ct, read_ct_series(datasets))


def infer(case: CaseFolder, settings: NodeSettings) -> None:
    """CT volume → lobes, perfusion, function regions, lobar table and findings.

    Raises:
        ImplausibleAnatomy: the CT does not show two lungs; the case is rejected.
        ModelError: a model is absent or not the one that was approved.
    """
    engine = build_engine(settings.engine)
    write_result(case.result, engine.run(read_ct(case.ct), progress=case.show_progress))


def encode(case: CaseFolder, settings: NodeSettings) -> None:
    """Result and headers of the CT → Parametric Map, RT Structure Set and summary picture.

    Raises:
        EncodingError: an object could not be made.
    """
    case.show_progress("making the DICOM objects")
    ct, result = read_ct(case.ct), read_result(case.result)
    headers = [dcmread(path, stop_before_pixels=True) for path in case.instances()]
    context = result_context(ct, headers, result, settings.settings_digest())
    make_directory(case.objects)
    for kind, encoder in OBJECTS.items():
        with written_durably(case.object(kind)) as part:
            encoder(result, context, settings).save_as(part, enforce_file_format=True)
    with written_durably(case.summary) as part:
        draw_summary(ct, result, part)


def _parametric_map(result: PerfusionResult, context: ResultContext, settings: NodeSettings) -> Dataset:
    return encode_parametric_map(result.perfusion, context)


def _structure_set(result: PerfusionResult, context: ResultContext, settings: NodeSettings) -> Dataset:
    return encode_structure_set(result.lobes, result.regions, context, settings.structure_set)


Encoder = Callable[[PerfusionResult, ResultContext, NodeSettings], Dataset]

OBJECTS: dict[ObjectKind, Encoder] = {
    ObjectKind.PARAMETRIC_MAP: _parametric_map,
    ObjectKind.STRUCTURE_SET: _structure_set,
}
"""Every object of a case, in the order they are sent."""

StageFunction = Callable[[CaseFolder, NodeSettings], None]

STAGES: dict[Stage, StageFunction] = {Stage.READ: read, Stage.INFER: infer, Stage.ENCODE: encode}
"""What each stage does; `deliver` is `delivery.send`, once per destination."""
