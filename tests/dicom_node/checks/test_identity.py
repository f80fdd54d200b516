import warnings
from dataclasses import replace

import pydicom.config
import pytest
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from dicom_node.checks.check import check_result
from dicom_node.objects.kinds import ObjectKind
from tests.dicom_node.checks.conftest import ChestFiles, codes_of, encoded, parsed, write
from tests.dicom_node.objects.conftest import make_chest

KINDS = [
    ObjectKind.PARAMETRIC_MAP,
    ObjectKind.STRUCTURE_SET,
    ObjectKind.MR_TWIN,
    ObjectKind.SEGMENTATION,
    ObjectKind.SUMMARY_PDF,
    ObjectKind.SUMMARY_IMAGE,
]
ENCODED = (ObjectKind.PARAMETRIC_MAP, ObjectKind.STRUCTURE_SET, ObjectKind.SEGMENTATION, ObjectKind.REPORT)


def setting(keyword, value):
    return lambda dataset: setattr(dataset, keyword, value)


def raw(keyword, vr, value):
    tag = Tag(keyword)
    return lambda dataset: dataset.update({tag: RawDataElement(tag, vr, len(value), value, 0, False, True)})


def private(dataset):
    dataset.private_block(0x0011, "SOMEBODY", create=True).add_new(1, "LO", "x")


def nested_private(dataset):
    item = Dataset()
    private(item)
    dataset.OtherPatientIDsSequence = dataset.get("OtherPatientIDsSequence", [])
    dataset.ReferencedInstanceSequence = [item]


def long_uid(dataset):
    item = Dataset()
    item.add(DataElement(Tag("ReferencedSOPInstanceUID"), "UI", "1." * 32 + "1", validation_mode=pydicom.config.IGNORE))
    dataset.ReferencedInstanceSequence = [item]


def leading_zero(dataset):
    item = Dataset()
    item.ReferencedSOPInstanceUID = "1.2.03"
    dataset.ReferencedInstanceSequence = [item]


def no_research(dataset):
    for keyword in ("SeriesDescription", "ContentQualification", "StructureSetDescription"):
        if keyword in dataset:
            setattr(dataset, keyword, "PRODUCT")


def remove(keyword):
    return lambda dataset: dataset.pop(keyword)


def other_instance(dataset):
    """A valid UID in dataset and file meta alike: nothing is wrong with it."""
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "2.25.77"


def as_latin_1(dataset):
    """The same name in another character set is the same name."""
    dataset.SpecificCharacterSet = "ISO_IR 100"


def name_in_wrong_bytes(dataset):
    """What a writer gives that takes UTF-8 for Latin-1: the same length, other characters."""
    raw("PatientName", "PN", "MÃ¼ller^JÃ¼rgen".encode())(dataset)


PLANTED = [
    ({"PRIVATE_ELEMENT"}, private),
    ({"PRIVATE_ELEMENT"}, nested_private),
    ({"UID_INVALID"}, long_uid),
    ({"UID_INVALID"}, leading_zero),
    ({"UID_INVALID"}, raw("SeriesInstanceUID", "UI", b"2.25.12345x ")),
    ({"RESEARCH_UNSAID"}, no_research),
    ({"DATE_ABSENT"}, remove("SeriesDate")),
    ({"DATE_ABSENT"}, setting("SeriesTime", "")),
    ({"DATE_ABSENT"}, raw("SeriesDate", "DA", b"2026-11-01")),
    ({"PATIENT_DIFFERS"}, setting("PatientID", "P002")),
    ({"PATIENT_DIFFERS"}, setting("PatientID", "p001")),
    ({"PATIENT_DIFFERS"}, setting("PatientName", "Müller^Jürgen^^^")),
    ({"PATIENT_DIFFERS"}, name_in_wrong_bytes),
    ({"PATIENT_DIFFERS"}, setting("PatientBirthDate", "")),
    ({"PATIENT_DIFFERS"}, remove("PatientSex")),
    ({"PATIENT_DIFFERS"}, setting("PatientAge", "076Y")),
    ({"STUDY_DIFFERS"}, setting("StudyInstanceUID", "2.25.1")),
    ({"STUDY_DIFFERS"}, setting("AccessionNumber", "A2")),
    ({"STUDY_DIFFERS"}, remove("ReferringPhysicianName")),
    ({"STUDY_DIFFERS"}, setting("StudyDescription", "a study")),
    ({"FRAME_OF_REFERENCE_DIFFERS"}, setting("FrameOfReferenceUID", "2.25.1")),
]
OF_SETS = [
    ({"DATE_ABSENT"}, remove("StructureSetDate")),
    ({"DATE_ABSENT"}, setting("StructureSetTime", "")),
    ({"FRAME_OF_REFERENCE_DIFFERS"}, remove("FrameOfReferenceUID")),
]


@pytest.mark.parametrize(("codes", "mutation"), PLANTED)
def test_a_planted_fault_is_found_under_its_code(planted, codes, mutation):
    assert codes_of(planted(ObjectKind.SUMMARY_PDF, mutation)) == codes


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_object_is_looked_at(planted, kind):
    def wrong_patient_without_dates(dataset):
        setting("PatientID", "P002")(dataset)
        remove("SeriesDate")(dataset)
        private(dataset)

    assert {"PATIENT_DIFFERS", "DATE_ABSENT", "PRIVATE_ELEMENT"} == codes_of(planted(kind, wrong_patient_without_dates))


@pytest.mark.parametrize(("codes", "mutation"), OF_SETS)
def test_a_structure_set_has_dates_of_its_own(planted, codes, mutation):
    assert codes_of(planted(ObjectKind.STRUCTURE_SET, mutation)) == codes


@pytest.mark.parametrize("mutation", [as_latin_1, other_instance])
def test_what_says_the_same_is_no_fault(planted, mutation):
    assert planted(ObjectKind.SUMMARY_PDF, mutation) == ()


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SOPClassUID"])
def test_file_meta_information_of_another_object_is_told(files, tmp_path, keyword):
    (content,) = files.of_kind(ObjectKind.SUMMARY_PDF).values()
    uid = str(parsed(content)[keyword].value).encode()
    other = uid[:-1] + (b"7" if uid[-1:] != b"7" else b"8")
    wrong = content.replace(uid, other, 1)  # the first is that of the file meta information
    faults = check_result(write({"pdf.dcm": wrong}, tmp_path), files.headers(), files.result)
    assert codes_of(faults) == {"FILE_META_DIFFERS"}


def test_the_same_instance_uid_in_two_objects_is_told(files, tmp_path):
    objects = files.of_kind(ObjectKind.SUMMARY_PDF, ObjectKind.SUMMARY_IMAGE)
    picture, pdf = (parsed(objects[f"summary-{name}.dcm"]) for name in ("image", "pdf"))
    pdf.SOPInstanceUID = pdf.file_meta.MediaStorageSOPInstanceUID = picture.SOPInstanceUID
    objects["summary-pdf.dcm"] = encoded(pdf)
    faults = check_result(write(objects, tmp_path), files.headers(), files.result)
    assert codes_of(faults) == {"UID_REPEATED"}


@pytest.mark.parametrize("whose", ["the CT's", "another object's"])
def test_an_object_in_the_series_of_another_is_told(files, tmp_path, whose):
    objects = files.of_kind(ObjectKind.SUMMARY_PDF, ObjectKind.SUMMARY_IMAGE)
    pdf = parsed(objects["summary-pdf.dcm"])
    owner = parsed(objects["summary-image.dcm"]) if whose == "another object's" else files.chest.datasets[0]
    pdf.SeriesInstanceUID = owner.SeriesInstanceUID
    objects["summary-pdf.dcm"] = encoded(pdf)
    faults = check_result(write(objects, tmp_path), files.headers(), files.result)
    assert codes_of(faults) == {"SERIES_SHARED"}


def test_two_structure_sets_are_in_series_of_their_own(files, tmp_path):
    objects = files.of_kind(ObjectKind.STRUCTURE_SET)
    second = parsed(objects["structure-set.dcm"])
    second.SOPInstanceUID = second.file_meta.MediaStorageSOPInstanceUID = "2.25.77"
    objects["second.dcm"] = encoded(second)
    faults = check_result(write(objects, tmp_path), files.headers(), files.result)
    assert [(fault.code, fault.object) for fault in faults] == [("SERIES_SHARED", "second.dcm")]


def test_the_instance_uid_of_a_ct_image_is_told(files, planted):
    def take(dataset):
        uid = files.chest.datasets[2].SOPInstanceUID
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid

    assert codes_of(planted(ObjectKind.SUMMARY_PDF, take)) == {"UID_REPEATED"}


NAMES = {
    "Japanese": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "Japanese, half width": (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
    "Korean": (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    "Chinese": ("GB18030", "Wang^XiaoDong=王^小东="),
    "Cyrillic": ("ISO_IR 144", "Люкceмбypг"),
    "Cyrillic in UTF-8": ("ISO_IR 192", "Иванов^Иван"),
}


@pytest.mark.parametrize("language", NAMES)
def test_names_of_every_script_are_recognised(tmp_path, language):
    character_set, name = NAMES[language]
    chest = make_chest()
    for dataset in chest.datasets:
        dataset.SpecificCharacterSet = character_set
        dataset.PatientName = name
        dataset.StudyDescription = name.split("=")[0]
    files = ChestFiles.of(chest, [ObjectKind.PARAMETRIC_MAP, ObjectKind.SUMMARY_PDF])
    assert check_result(write(files.objects, tmp_path), files.headers(), files.result) == ()
    pdf = parsed(files.objects["summary-pdf.dcm"])
    value = pdf.get_item(Tag("PatientName")).value
    raw("PatientName", "PN", value[:-3] + value[-3:][::-1])(pdf)
    wrong = write({"summary-pdf.dcm": encoded(pdf)}, tmp_path)
    assert codes_of(check_result(wrong, files.headers(), files.result)) == {"PATIENT_DIFFERS"}


def test_attributes_that_the_ct_lacks_are_written_empty(tmp_path):
    chest = make_chest()
    for dataset in chest.datasets:
        for keyword in ("PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyTime"):
            del dataset[keyword]
    files = ChestFiles.of(chest, ENCODED)
    assert check_result(write(files.objects, tmp_path), files.headers(), files.result) == ()
    pdf = parsed(files.objects["report.dcm"])
    pdf.PatientBirthDate = "19500101"
    wrong = write(files.objects | {"report.dcm": encoded(pdf)}, tmp_path)
    assert codes_of(check_result(wrong, files.headers(), files.result)) == {"PATIENT_DIFFERS"}


@pytest.mark.parametrize("read_before", [False, True])
def test_texts_outside_the_declared_character_set_are_no_fault(tmp_path, read_before):
    """Latin-1 declared as UTF-8: a text that is not required cannot be copied and is left out."""
    chest = make_chest()
    for dataset in chest.datasets:
        dataset.StudyDescription = "A study"
    ct = [encoded(d).replace(b"A study", b"A st\xfcdy") for d in chest.datasets]
    chest = replace(chest, datasets=[parsed(content) for content in ct])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        files = ChestFiles.of(chest, [ObjectKind.SUMMARY_PDF, ObjectKind.SUMMARY_IMAGE])
        headers = [parsed(content) for content in ct]
        if read_before:
            assert [len(list(header.iterall())) for header in headers]
    assert "StudyDescription" not in parsed(files.objects["summary-pdf.dcm"])
    assert check_result(write(files.objects, tmp_path), headers, files.result) == ()


def test_what_the_ct_has_empty_must_still_be_written(tmp_path):
    chest = make_chest()
    for dataset in chest.datasets:
        dataset.PatientBirthDate = ""
    files = ChestFiles.of(chest, [ObjectKind.SUMMARY_PDF])
    pdf = parsed(files.objects["summary-pdf.dcm"])
    del pdf.PatientBirthDate
    (fault,) = check_result(write({"pdf.dcm": encoded(pdf)}, tmp_path), files.headers(), files.result)
    assert (fault.code, fault.sentence) == ("PATIENT_DIFFERS", "PatientBirthDate is absent")


def test_padding_is_no_difference(files, tmp_path):
    headers = files.headers()
    for header in headers:
        raw("PatientID", "LO", b" P001   ")(header)
    assert check_result(write(files.of_kind(ObjectKind.SUMMARY_PDF), tmp_path), headers, files.result) == ()


def test_headers_that_others_have_read_already_do_for_the_comparison(files, tmp_path):
    headers = files.headers()
    for header in headers:
        list(header.iterall())
    assert check_result(write(files.of_kind(ObjectKind.SUMMARY_PDF), tmp_path), headers, files.result) == ()


def test_identifiers_in_sequences_are_compared(tmp_path):
    chest = make_chest()
    for dataset in chest.datasets:
        item = Dataset()
        item.PatientID, item.IssuerOfPatientID, item.TypeOfPatientID = "X-17", "Ward", "TEXT"
        dataset.OtherPatientIDsSequence = [item]
    files = ChestFiles.of(chest, [ObjectKind.SUMMARY_PDF, ObjectKind.STRUCTURE_SET])
    assert check_result(write(files.objects, tmp_path), files.headers(), files.result) == ()
    pdf = parsed(files.objects["summary-pdf.dcm"])
    pdf.OtherPatientIDsSequence[0].PatientID = "X-18"
    wrong = write({"summary-pdf.dcm": encoded(pdf)}, tmp_path)
    (fault,) = check_result(wrong, files.headers(), files.result)
    assert (fault.code, fault.where) == ("PATIENT_DIFFERS", "OtherPatientIDsSequence")
    assert "X-1" not in str(fault)
