from dataclasses import replace

import pytest
from pydicom.uid import UID

from dicom_node.objects.identifiers import Identifiers, uid_from
from dicom_node.objects.kinds import ObjectKind, ObjectRole

IDENTIFIERS = Identifiers("source", "0.1.0", ("model", "segmenter"), "settings")


def all_uids(identifiers):
    return [
        make(role)
        for kind in ObjectKind
        for role in (ObjectRole(kind), ObjectRole(kind, "function"))
        for make in (identifiers.series_uid, identifiers.instance_uid, identifiers.dimension_organization_uid)
    ]


def test_every_role_has_a_valid_uid_of_its_own():
    uids = [*all_uids(IDENTIFIERS), IDENTIFIERS.instance_uid(ObjectRole(ObjectKind.STRUCTURE_SET), 2)]
    assert len(set(uids)) == len(uids)
    assert all(UID(uid).is_valid and len(uid) <= 44 for uid in uids)


@pytest.mark.parametrize(
    "change",
    [
        {"source_sha256": "other"},
        {"software_version": "0.1.1"},
        {"model_digests": ("model", "other")},
        {"model_digests": ("modelsegmenter",)},
        {"settings_sha256": "other"},
        {"predecessor": "other"},
    ],
)
def test_another_input_changes_all_uids(change):
    assert not set(all_uids(IDENTIFIERS)) & set(all_uids(replace(IDENTIFIERS, **change)))


def test_uids_are_the_same_in_every_release_of_this_project():
    assert uid_from("a", "bc") == "2.25.110412357735506804059868378596849497474"
    assert uid_from("ab", "c") != uid_from("a", "bc")
