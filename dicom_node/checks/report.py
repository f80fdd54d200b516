"""Rules of the structured report: its figures are those of the result, its references lead somewhere (TID 1500)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pydicom.dataset import Dataset

from dicom_node.checks.checked_object import CheckedObject, code, integer, items, numbers, text
from dicom_node.checks.expected import LOBES, LUNGS, comparable
from dicom_node.checks.faults import Fault
from dicom_node.checks.surroundings import Surroundings
from dicom_node.objects import codes
from dicom_node.objects.codes import CodedTerm
from inference.anatomy import Lobe, Side, lobes_of
from inference.volumes import LobarPerfusion, LobarTable

LARGEST_ML = 15_000.0
"""More than any pair of lungs."""
LARGEST_MEAN_PERCENT = 2_000.0
"""A lobe holds at most all perfusion, and none is smaller than a twentieth of the lungs."""
FIGURE_TOLERANCE = 1e-4
"""Relative; figures have eight digits, voxel volumes from rounded positions fewer."""
SMALLEST_DIFFERENCE = 0.01
"""Of millilitres or percent, below which nobody looks."""

Code = tuple[str, str]

_GROUP = ("125007", "DCM")
_TRACKING_IDENTIFIER = ("112039", "DCM")
_SOURCE_SERIES = ("121232", "DCM")


def _key(term: CodedTerm) -> Code:
    return term.value, term.scheme


_VOLUME, _MEAN = _key(codes.VOLUME), _key(codes.PERFUSION_QUANTITY)
_SHARE, _HIGH, _LOW = (_key(term) for term in (codes.PERFUSION_SHARE, codes.HIGH_SHARE, codes.LOW_SHARE))
_UNITS = {_VOLUME: _key(codes.MILLILITRE), **dict.fromkeys((_MEAN, _SHARE, _HIGH, _LOW), _key(codes.PERCENT))}
_LIMITS = {_VOLUME: LARGEST_ML, _MEAN: LARGEST_MEAN_PERCENT, _SHARE: 100.0, _HIGH: 100.0, _LOW: 100.0}


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """A group of measurements (TID 1411 or 1501)."""

    name: str
    """Tracking identifier."""
    figures: Mapping[Code, float]
    units: Mapping[Code, Code]
    segments: tuple[tuple[str, int], ...]
    """SOP Instance UID and number of each segment referred to."""

    @classmethod
    def of(cls, container: Dataset) -> "_Group":
        """Read a measurement group."""
        content = items(container, "ContentSequence")
        figures: dict[Code, float] = {}
        units: dict[Code, Code] = {}
        for item in content:
            if text(item, "ValueType") == "NUM":
                measured = items(item, "MeasuredValueSequence")
                name = code(items(item, "ConceptNameCodeSequence"))
                figures[name] = float(numbers(measured[0], "NumericValue", 1)[0]) if measured else float("nan")
                units[name] = code(items(measured[0], "MeasurementUnitsCodeSequence")) if measured else ("", "")
        names = [
            text(item, "TextValue")
            for item in content
            if code(items(item, "ConceptNameCodeSequence")) == _TRACKING_IDENTIFIER
        ]
        references = [reference for item in content for reference in items(item, "ReferencedSOPSequence")]
        segments = tuple(
            (text(reference, "ReferencedSOPInstanceUID"), integer(reference, "ReferencedSegmentNumber"))
            for reference in references
            if "ReferencedSegmentNumber" in reference
        )
        return cls(names[0] if names else "", figures, units, segments)

    @property
    def place(self) -> str:
        """How faults name it."""
        return f"measurements of {self.name}"


def check_report(checked: CheckedObject, around: Surroundings) -> Iterator[Fault]:
    """All rules of this kind."""
    if text(checked.dataset, "VerificationFlag") != "UNVERIFIED":
        yield checked.fault("REPORT_VERIFIED", "Verification Flag is not UNVERIFIED")
    content = list(_content_items(checked.dataset))
    groups = [_Group.of(item) for item in content if code(items(item, "ConceptNameCodeSequence")) == _GROUP]
    yield from _check_references(checked, content, around)
    yield from _check_segments(checked, groups, around)
    yield from _check_lobes(checked, groups, around.expected.lobar)
    yield from _check_range(checked, groups)
    yield from _check_shares(checked, groups)
    if around.expected.lobar is not None:
        yield from _check_figures(checked, groups, around.expected.lobar)


def _content_items(dataset: Dataset) -> Iterator[Dataset]:
    for item in items(dataset, "ContentSequence"):
        yield item
        yield from _content_items(item)


def _check_references(checked: CheckedObject, content: Iterable[Dataset], around: Surroundings) -> Iterator[Fault]:
    evidence = [
        reference
        for study in items(checked.dataset, "CurrentRequestedProcedureEvidenceSequence")
        for series in items(study, "ReferencedSeriesSequence")
        for reference in items(series, "ReferencedSOPSequence")
    ]
    inside = [reference for item in content for reference in items(item, "ReferencedSOPSequence")]
    listed = {text(reference, "ReferencedSOPInstanceUID") for reference in evidence}
    given = set(around.instances.values())
    missing: dict[str, None] = {}
    for reference in (*evidence, *inside):
        uid, sop_class = (text(reference, f"ReferencedSOP{part}UID") for part in ("Instance", "Class"))
        if around.instances.get(uid) != sop_class and (
            uid in around.instances or _should_be_here(sop_class, given, around)
        ):
            missing[uid] = None
    if missing:
        sentence = f"{len(missing)} instance(s) referred to are absent or of another SOP class"
        yield checked.fault("REPORT_REFERENCE", sentence)
    if any(text(reference, "ReferencedSOPInstanceUID") not in listed for reference in inside):
        yield checked.fault("REPORT_REFERENCE", "an instance of the content is not listed as evidence")
    if around.ct is not None:
        series = text(around.ct.representative, "SeriesInstanceUID")
        sources = [i for i in content if code(items(i, "ConceptNameCodeSequence")) == _SOURCE_SERIES]
        if any(text(item, "UID") != series for item in sources):
            yield checked.fault("REPORT_REFERENCE", "the source series of a segment is not the CT")


def _should_be_here(sop_class: str, given: set[str], around: Surroundings) -> bool:
    """Whether an instance of this class would be at hand if it existed."""
    return around.has_all_objects or sop_class in given


def _check_segments(checked: CheckedObject, groups: Iterable[_Group], around: Surroundings) -> Iterator[Fault]:
    for group in groups:
        for segmentation, number in group.segments:
            labels = around.segments.get(segmentation)
            if labels is not None and comparable(labels.get(number, "")) != comparable(group.name):
                sentence = f"segment {number} is absent or another region"
                yield checked.fault("REPORT_SEGMENT", sentence, group.place)


def _check_lobes(checked: CheckedObject, groups: Iterable[_Group], lobar: LobarTable | None) -> Iterator[Fault]:
    names = [comparable(group.name) for group in groups]
    for lobe, name in zip(Lobe, LOBES, strict=True):
        times = names.count(name)
        is_empty = lobar is not None and not lobar[lobe].volume_ml
        if times > 1 or (times == 0 and lobar is not None and not is_empty):
            sentence = f"there are {times} groups of measurements of it"
            yield checked.fault("REPORT_LOBES", sentence, f"measurements of {lobe.tg263}")


def _check_range(checked: CheckedObject, groups: Iterable[_Group]) -> Iterator[Fault]:
    for group in groups:
        for name, unit in _UNITS.items():
            if name not in group.figures:
                yield checked.fault("REPORT_RANGE", f"there is no figure of {name[0]}", group.place)
            elif not 0 <= group.figures[name] <= _LIMITS[name] or group.units[name] != unit:
                yield checked.fault("REPORT_RANGE", f"the figure or unit of {name[0]} is not possible", group.place)


def _check_shares(checked: CheckedObject, groups: Iterable[_Group]) -> Iterator[Fault]:
    shares = [group.figures.get(_SHARE, float("nan")) for group in groups if comparable(group.name) in LOBES]
    if shares and not abs(sum(shares) - 100.0) <= SMALLEST_DIFFERENCE:
        yield checked.fault("REPORT_SHARES", f"the lobes' shares of perfusion sum to {sum(shares):.3f} %")


def _check_figures(checked: CheckedObject, groups: Iterable[_Group], lobar: LobarTable) -> Iterator[Fault]:
    members = dict(zip(LUNGS, (tuple(Lobe), *(lobes_of(side) for side in Side)), strict=True))
    members |= {name: (lobe,) for lobe, name in zip(Lobe, LOBES, strict=True)}
    for group in groups:
        lobes = members.get(comparable(group.name))
        if lobes is None:
            continue
        for name, wanted in _figures([lobar[lobe] for lobe in lobes]).items():
            found = group.figures.get(name, float("nan"))
            if not abs(found - wanted) <= max(SMALLEST_DIFFERENCE, FIGURE_TOLERANCE * abs(wanted)):
                sentence = f"the figure of {name[0]} is {found:g} instead of {wanted:g}"
                yield checked.fault("REPORT_FIGURES_DIFFER", sentence, group.place)


def _figures(rows: list[LobarPerfusion]) -> dict[Code, float]:
    """Figures of some lobes as one region, in the units of the report."""
    volume_ml = sum(row.volume_ml for row in rows)

    def share_of_volume(weights: Iterable[float]) -> float:
        return sum(w * row.volume_ml for w, row in zip(weights, rows, strict=True)) / volume_ml if volume_ml else 0.0

    return {
        _VOLUME: volume_ml,
        _MEAN: 100.0 * share_of_volume(row.mean_perfusion for row in rows),
        _SHARE: 100.0 * sum(row.perfusion_fraction for row in rows),
        _HIGH: 100.0 * share_of_volume(row.high_fraction for row in rows),
        _LOW: 100.0 * share_of_volume(row.low_fraction for row in rows),
    }
