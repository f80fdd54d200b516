"""The two ways in: the objects of a result before they are sent, and any files for a person.

    check_result   every object against the CT and the result that it was made from; a fault means nothing is sent
    check_files    whatever files are given: CT images among them are the source, a segmentation and a Parametric Map
                   stand for the result, other objects are named as not checked

Objects are read one after the other. A file that cannot be read, or that breaks the check itself, is a fault and
never an exception: what cannot be checked must not be sent.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydicom.dataset import Dataset

from dicom_node.checks.checked_object import CheckedObject, UnreadableFile, read_object
from dicom_node.checks.document import check_notice, check_pdf, check_picture
from dicom_node.checks.expected import Expected, Mask
from dicom_node.checks.faults import RULE_TABLE, Fault, Need
from dicom_node.checks.identity import InstanceFacts, check_identity, check_instances
from dicom_node.checks.mr_twin import TwinImage, check_mr_image, check_mr_series
from dicom_node.checks.parametric_map import check_parametric_map, map_on_ct
from dicom_node.checks.report import check_report
from dicom_node.checks.segmentation import check_segmentation, segment_masks
from dicom_node.checks.source_ct import SourceCt
from dicom_node.checks.structure_set import check_structure_set
from dicom_node.checks.surroundings import Surroundings
from dicom_node.checks.survey import FoundObject, NotChecked, ct_of, survey
from dicom_node.objects.kinds import ObjectKind

if TYPE_CHECKING:  # what a result holds, not the engine and what it loads
    from inference.engine import PerfusionResult

CHECKS: Mapping[ObjectKind, Callable[[CheckedObject, Surroundings], Iterator[Fault]]] = {
    ObjectKind.SEGMENTATION: check_segmentation,
    ObjectKind.PARAMETRIC_MAP: check_parametric_map,
    ObjectKind.STRUCTURE_SET: check_structure_set,
    ObjectKind.MR_TWIN: check_mr_image,
    ObjectKind.REPORT: check_report,
    ObjectKind.SUMMARY_PDF: check_pdf,
    ObjectKind.SUMMARY_IMAGE: check_picture,
    ObjectKind.REFUSAL_NOTICE: check_notice,
}
"""Rules by kind, in the order in which files are looked at: others are compared with the first two."""


@dataclass(frozen=True, slots=True)
class Untried:
    """Rules that could not be tried on an object."""

    object: str
    """File name; of several objects with the same to say, the first and how many more."""
    codes: tuple[str, ...]
    need: Need
    """What would have to be among the files."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check of files came to."""

    faults: tuple[Fault, ...]
    checked: tuple[str, ...]
    """Objects that rules were tried on."""
    not_checked: tuple[NotChecked, ...]
    untried: tuple[Untried, ...]


def check_result(paths: Sequence[Path], ct_headers: Sequence[Dataset], result: "PerfusionResult") -> tuple[Fault, ...]:
    """Check every object of a result before it is sent.

    Args:
        paths: all objects that were made of the result, in any order.
        ct_headers: of the CT that the result was made from, pixels not needed.
        result: what the objects should hold.

    Returns:
        Every rule that is broken; nothing may be sent unless there is none.

    Raises:
        ValueError: an image that the result was made from is not among `ct_headers`, or does not say where it lies.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of values that rules here give a code
        ct = SourceCt.of(ct_headers, result.source.slices)
        found = survey({path: path.name for path in paths})
        around = Surroundings(
            ct, Expected.of_result(result), found.instances([ct]), found.segments(), has_all_objects=True
        )
        run = _Run()
        for file in found.objects:
            run.check(file, lambda checked: around)
        strays = (Fault("UNREADABLE", other.file, other.reason) for other in found.others)
        return (*found.faults, *strays, *run.finish([ct]))


def check_files(paths: Sequence[Path]) -> CheckReport:
    """Check whatever files are given; never raises for what is in them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of values that rules here give a code
        found = survey({path: str(path) for path in paths})
        stand_ins = _StandIns(keeps_maps=any(f.kind in (ObjectKind.MR_TWIN, ObjectKind.REPORT) for f in found.objects))
        instances, segments = found.instances(found.cts), found.segments()
        run = _Run()
        untried: list[Untried] = []

        def surroundings(checked: CheckedObject) -> Surroundings:
            ct = ct_of(checked.dataset, found.cts)
            expected = stand_ins.expected(ct) if ct is not None else Expected()
            around = Surroundings(ct, expected, instances, segments)
            untried.extend(_untried(checked, around))
            if ct is not None:
                stand_ins.keep(checked, ct)
            return around

        order = list(CHECKS)
        for file in sorted(found.objects, key=lambda file: order.index(file.kind)):
            run.check(file, surroundings)
        names = tuple(file.name for file in found.objects)
        return CheckReport((*found.faults, *run.finish(found.cts)), names, found.others, _together(untried))


class _Run:
    """Checks objects one by one and keeps what rules about several objects need."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._facts: list[InstanceFacts] = []
        self._twins: dict[SourceCt, list[TwinImage]] = {}

    def check(self, file: FoundObject, surroundings: Callable[[CheckedObject], Surroundings]) -> None:
        """Try every rule for one object."""
        try:
            checked = read_object(file.path, file.name)
            around = surroundings(checked)
            self._facts.append(InstanceFacts.of(checked))
            for fault in check_identity(checked, around.ct):
                self._faults.append(fault)
            for fault in CHECKS[file.kind](checked, around):
                self._faults.append(fault)
            if file.kind is ObjectKind.MR_TWIN and around.ct is not None:
                self._twins.setdefault(around.ct, []).append(TwinImage.of(checked, around.ct))
        except UnreadableFile as fault:
            self._faults.append(Fault("UNREADABLE", file.name, str(fault)))
        except Exception as fault:  # values that pydicom cannot make sense of fail in any way
            sentence = f"checking stopped at a value that cannot be read ({type(fault).__name__})"
            self._faults.append(Fault("UNREADABLE", file.name, sentence))

    def finish(self, cts: Sequence[SourceCt]) -> tuple[Fault, ...]:
        """All faults, those about several objects last."""
        for ct, images in self._twins.items():
            self._faults += check_mr_series(images, ct)
        self._faults += check_instances(self._facts, cts)
        return tuple(self._faults)


class _StandIns:
    """Segmentations and maps among the files, which other objects of the same CT are compared with."""

    def __init__(self, *, keeps_maps: bool) -> None:
        self._keeps_maps = keeps_maps
        self._masks: dict[SourceCt, list[Mapping[str, Callable[[], Mask]]]] = {}
        self._maps: dict[SourceCt, list[np.ndarray]] = {}
        self._expected: dict[SourceCt, Expected] = {}

    def keep(self, checked: CheckedObject, ct: SourceCt) -> None:
        """Keep the contents of an object that stands for a part of the result."""
        if checked.kind in (ObjectKind.SEGMENTATION, ObjectKind.PARAMETRIC_MAP):
            self._expected.pop(ct, None)
        if checked.kind is ObjectKind.SEGMENTATION:
            self._masks.setdefault(ct, []).append(segment_masks(checked.dataset, ct))
        if checked.kind is ObjectKind.PARAMETRIC_MAP and self._keeps_maps:
            values = map_on_ct(checked.dataset, ct)
            if values is not None:
                self._maps.setdefault(ct, []).append(values)

    def expected(self, ct: SourceCt) -> Expected:
        """What objects of this CT should hold; of two maps, or segmentations with a label in common, none is taken."""
        if ct not in self._expected:
            masks, maps = self._masks.get(ct, []), self._maps.get(ct, [])
            together = {label: mask for segments in masks for label, mask in segments.items()}
            is_clear = len(together) == sum(map(len, masks))
            self._expected[ct] = Expected.of_objects(
                together if is_clear else {}, maps[0] if len(maps) == 1 else None, ct.voxel_volume_ml
            )
        return self._expected[ct]


def _untried(checked: CheckedObject, around: Surroundings) -> Iterator[Untried]:
    needs: dict[Need, list[str]] = {}
    for rule in RULE_TABLE:
        if not rule.kinds or checked.kind in rule.kinds:
            need = around.lacks(rule)
            if need is not None:
                needs.setdefault(need, []).append(rule.code)
    for need, codes in needs.items():
        yield Untried(checked.name, tuple(codes), need)


def _together(untried: Iterable[Untried]) -> tuple[Untried, ...]:
    """The same said of several objects once; a series has hundreds of images."""
    objects: dict[tuple[tuple[str, ...], Need], list[str]] = {}
    for rules in untried:
        objects.setdefault((rules.codes, rules.need), []).append(rules.object)
    return tuple(
        Untried(names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more", codes, need)
        for (codes, need), names in objects.items()
    )
