"""Our list and our UIDs, held against two programs that others keep.

`dicom-anonymizer` carries table E.1-1 of PS3.15 as data: nothing that the Basic Profile removes may be on our list.
`dicognito` gives every UID another one by the same rule everywhere: wherever two UIDs of its files are equal, ours are,
and the other way round. Neither is used for the store itself: the first loses links of nested objects and leaves free
text that the table does not name, the second keeps descriptions and invents names.
"""

import copy
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from dicognito.anonymizer import Anonymizer
from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as table
from pydicom import dcmread
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset

from tests.training.store.hospital import ROOT, HospitalPatient, registered
from training.store.kept_attributes import EMPTY, KEPT, Rule
from training.store.study_store import StudyStore


def keywords(*names: str) -> set[str]:
    """Keywords of some lists of the table; repeating groups have none."""
    tags = chain.from_iterable(getattr(table, name) for name in names)
    return {keyword_for_tag((tag[0] << 16) + tag[1]) for tag in tags if len(tag) == 2} - {""}


def test_nothing_that_the_basic_profile_removes_is_on_our_list() -> None:
    gone = keywords("D_TAGS", "Z_TAGS", "X_TAGS", "Z_D_TAGS", "X_Z_TAGS", "X_D_TAGS", "X_Z_D_TAGS", "X_Z_U_STAR_TAGS")
    assert len(gone) > 400
    moved = {keyword for keyword, rule in KEPT.items() if rule is Rule.DATE}
    links = {"ReferencedImageSequence", "SourceImageSequence"}  # X/Z/U*: UIDs in them replaced (PS3.15 E.1.1)
    assert gone & KEPT.keys() == moved | links
    assert set(EMPTY) & gone == set(EMPTY) - {"PositionReferenceIndicator", "SeriesNumber", "AcquisitionNumber"}


def test_uids_that_the_basic_profile_replaces_are_replaced() -> None:
    replaced = keywords("U_TAGS")
    assert {"FrameOfReferenceUID", "SOPInstanceUID", "ReferencedSOPInstanceUID"} <= replaced
    assert {keyword for keyword in replaced & KEPT.keys() if KEPT[keyword] is not Rule.UID} == set()


def uids(dataset: Dataset, path: str = "") -> Iterator[tuple[str, str]]:
    """All UIDs of an object, by their place in it."""
    for element in dataset:
        place = f"{path}/{element.keyword}"
        if element.VR == "SQ":
            for number, item in enumerate(element.value):
                yield from uids(item, f"{place}[{number}]")
        elif element.VR == "UI" and element.value:
            yield place, str(element.value)


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Dataset, Dataset]]:
    """Of the hospital and of the store."""
    folder = tmp_path_factory.mktemp("both")
    files = registered(HospitalPatient(), folder / "hospital")
    pair = StudyStore.create(folder / "store").take(files, by="Ann")
    assert pair.registration is not None
    assert files.registration is not None
    both = [(files.nuclear[0], pair.nuclear[0]), (files.registration, pair.registration)]
    both += list(zip(reversed(files.ct), pair.ct, strict=True))
    return [(dcmread(source), dcmread(stored)) for source, stored in both]


def test_equal_uids_are_equal_where_another_program_makes_them_equal(objects: list[tuple[Dataset, Dataset]]) -> None:
    other = Anonymizer(seed="a seed")
    pairs: set[tuple[str, str]] = set()
    for source, stored in objects:
        theirs = copy.deepcopy(source)
        other.anonymize(theirs)
        own, foreign = dict(uids(stored)), dict(uids(theirs))
        assert set(own) == set(foreign) & set(own)
        pairs |= {(own[place], foreign[place]) for place in own}
    changed = {(one, two) for one, two in pairs if one != two}
    assert len(changed) == 11  # a study, three series, two frames of reference, five objects
    assert all(one.startswith("1.2.840.10008.") for one, two in pairs - changed)
    assert len({one for one, _ in pairs}) == len({two for _, two in pairs}) == len(pairs)


def test_every_uid_of_the_hospital_is_another_one(objects: list[tuple[Dataset, Dataset]]) -> None:
    for source, stored in objects:
        before, after = dict(uids(source)), dict(uids(stored))
        assert all(after[place].startswith("2.25.") for place in after if before[place].startswith(ROOT))
        assert not {uid for uid in before.values() if uid.startswith(ROOT)} & set(after.values())


def test_the_registration_keeps_all_its_places_for_uids(objects: list[tuple[Dataset, Dataset]], tmp_path: Path) -> None:
    source, stored = next(pair for pair in objects if pair[0].Modality == "REG")
    assert set(dict(uids(source))) == set(dict(uids(stored)))
