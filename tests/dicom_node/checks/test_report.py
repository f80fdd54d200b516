import pytest

from dicom_node.objects.kinds import ObjectKind
from tests.dicom_node.checks.conftest import codes_of

BESIDE = (ObjectKind.SEGMENTATION, ObjectKind.PARAMETRIC_MAP)
LUNGS, LEFT, RIGHT, RUL, RML = range(5)


def everything(dataset):
    for item in dataset.get("ContentSequence", ()):
        yield item
        yield from everything(item)


def concept(item):
    return item.ConceptNameCodeSequence[0].CodeValue if "ConceptNameCodeSequence" in item else ""


def groups(dataset):
    return [item for item in everything(dataset) if concept(item) == "125007"]


def measured(dataset, group, code):
    (item,) = (i for i in groups(dataset)[group].ContentSequence if concept(i) == code)
    return item.MeasuredValueSequence[0]


def figure(group, code, value):
    return lambda dataset: setattr(measured(dataset, group, code), "NumericValue", value)


def factor(group, code, by):
    def change(dataset):
        item = measured(dataset, group, code)
        item.NumericValue = f"{float(item.NumericValue) * by:.8g}"

    return change


def unit(dataset):
    measured(dataset, RUL, "118565006").MeasurementUnitsCodeSequence[0].CodeValue = "cm3"


def no_volume(dataset):
    content = groups(dataset)[RUL].ContentSequence
    del content[next(n for n, item in enumerate(content) if concept(item) == "118565006")]


def references(dataset):
    return [reference for item in everything(dataset) for reference in item.get("ReferencedSOPSequence", ())]


def unknown_map(dataset):
    for reference in references(dataset):
        if reference.ReferencedSOPClassUID.endswith(".30"):
            reference.ReferencedSOPInstanceUID = "2.25.1"
            return


def wrong_class(dataset):
    for reference in references(dataset):
        if reference.ReferencedSOPClassUID.endswith(".30"):
            reference.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"


def not_listed(dataset):
    for study in dataset.CurrentRequestedProcedureEvidenceSequence:
        for series in study.ReferencedSeriesSequence:
            kept = [i for i in series.ReferencedSOPSequence if not i.ReferencedSOPClassUID.endswith(".30")]
            series.ReferencedSOPSequence = kept


def other_source_series(dataset):
    for item in everything(dataset):
        if concept(item) == "121232":
            item.UID = "2.25.1"


def next_segment(dataset):
    for reference in references(dataset):
        if "ReferencedSegmentNumber" in reference:
            reference.ReferencedSegmentNumber = int(reference.ReferencedSegmentNumber) + 1
            return


def name_of(group):
    (item,) = (i for i in group.ContentSequence if concept(i) == "112039")
    return item


def parent_of_groups(dataset):
    return next(item for item in everything(dataset) if concept(item) == "126010")


def lose_a_lobe(dataset):
    content = parent_of_groups(dataset).ContentSequence
    del content[RML]


def swap_lobes(dataset):
    """The figures of one lobe under the name of another, in both lobes."""
    for code in ("118565006", "110831", "PERFSHARE", "HIGHSHARE", "LOWSHARE"):
        first, second = measured(dataset, RUL, code), measured(dataset, RML, code)
        first.NumericValue, second.NumericValue = second.NumericValue, first.NumericValue


def rename(dataset):
    name_of(groups(dataset)[RML]).TextValue = "Lung_RUL"


PLANTED = [
    ({"REPORT_VERIFIED"}, lambda d: setattr(d, "VerificationFlag", "VERIFIED")),
    ({"REPORT_REFERENCE"}, unknown_map),
    ({"REPORT_REFERENCE"}, wrong_class),
    ({"REPORT_REFERENCE"}, not_listed),
    ({"REPORT_REFERENCE"}, other_source_series),
    ({"REPORT_SEGMENT"}, next_segment),
    ({"REPORT_LOBES", "REPORT_SHARES"}, lose_a_lobe),
    ({"REPORT_LOBES", "REPORT_SEGMENT", "REPORT_FIGURES_DIFFER"}, rename),
    ({"REPORT_RANGE", "REPORT_FIGURES_DIFFER"}, figure(RUL, "118565006", "-3")),
    ({"REPORT_RANGE", "REPORT_FIGURES_DIFFER"}, figure(RUL, "HIGHSHARE", "101")),
    ({"REPORT_RANGE"}, unit),
    ({"REPORT_RANGE", "REPORT_FIGURES_DIFFER"}, no_volume),
    ({"REPORT_SHARES", "REPORT_FIGURES_DIFFER"}, factor(RUL, "PERFSHARE", 1.02)),
    ({"REPORT_FIGURES_DIFFER"}, factor(RUL, "118565006", 1.01)),
    ({"REPORT_FIGURES_DIFFER"}, factor(RUL, "110831", 1.001)),
    ({"REPORT_FIGURES_DIFFER"}, factor(LUNGS, "110831", 1.001)),
    ({"REPORT_FIGURES_DIFFER"}, factor(LEFT, "LOWSHARE", 1.001)),
    ({"REPORT_FIGURES_DIFFER"}, swap_lobes),
]


@pytest.mark.parametrize(("codes", "mutation"), PLANTED)
def test_a_planted_fault_is_found_under_its_code(planted, codes, mutation):
    assert codes_of(planted(ObjectKind.REPORT, mutation, BESIDE)) == codes


def test_a_report_whose_map_is_not_sent_is_told(planted):
    (fault,) = planted(ObjectKind.REPORT, lambda dataset: None, [ObjectKind.SEGMENTATION])
    assert fault.code == "REPORT_REFERENCE"


def test_a_wrong_figure_names_region_and_values(planted):
    (fault,) = planted(ObjectKind.REPORT, factor(RUL, "118565006", 1.01), BESIDE)
    assert fault.where == "measurements of Lung_RUL"
    assert " instead of " in fault.sentence
