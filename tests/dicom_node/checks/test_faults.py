import re

import pytest

from dicom_node.checks.faults import RULE_TABLE, RULES, Fault
from dicom_node.objects.kinds import ObjectKind
from tests.dicom_node.checks import (
    test_document,
    test_identity,
    test_mr_twin,
    test_parametric_map,
    test_report,
    test_segmentation,
    test_structure_set,
)

WITH_A_TEST_OF_THEIR_OWN = {"UNREADABLE", "FILE_META_DIFFERS", "UID_REPEATED", "SERIES_SHARED"}


def test_every_rule_has_a_planted_fault():
    tables = (
        test_identity.PLANTED,
        test_parametric_map.PLANTED,
        test_structure_set.PLANTED,
        test_mr_twin.PLANTED,
        test_segmentation.PLANTED,
        test_report.PLANTED,
    )
    codes = {code for table in tables for codes, _ in table for code in codes}
    codes |= {code for _, codes, _ in test_document.PLANTED for code in codes}
    assert set(RULES) - WITH_A_TEST_OF_THEIR_OWN == codes
    assert set(RULES) >= WITH_A_TEST_OF_THEIR_OWN


def test_a_rule_is_one_code_and_one_sentence():
    assert len(RULES) == len(RULE_TABLE)
    for code, meaning in RULES.items():
        assert re.fullmatch(r"[A-Z][A-Z_]+", code)
        assert re.fullmatch(r"[A-Z].*\.", meaning), code
        assert meaning.isascii()


def test_every_kind_of_object_has_rules_of_its_own():
    assert {kind for rule in RULE_TABLE for kind in rule.kinds} == set(ObjectKind)


def test_a_fault_needs_a_rule_and_reads_as_one_line():
    assert str(Fault("UNREADABLE", "a.dcm", "it ends early", "PixelData")) == (
        "a.dcm: UNREADABLE: it ends early (PixelData)"
    )
    with pytest.raises(ValueError, match="no rule has the code NONSENSE"):
        Fault("NONSENSE", "a.dcm", "x")
