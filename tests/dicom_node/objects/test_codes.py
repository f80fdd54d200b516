import re

import pytest

from dicom_node.objects import codes
from dicom_node.objects.codes import CodedTerm, RoiName, roi_name
from inference.anatomy import Lobe, Side

NAMES = [*RoiName, *(side.tg263 for side in Side), *(lobe.tg263 for lobe in Lobe)]


def test_every_roi_has_a_colour_of_its_own():
    assert set(codes.COLOURS) == set(NAMES)
    assert len(set(codes.COLOURS.values())) == len(NAMES)


@pytest.mark.parametrize("separator", codes.NAME_SEPARATORS)
def test_roi_names_are_short_plain_and_unique_regardless_of_case(separator):
    names = [roi_name(name, separator) for name in NAMES]
    assert all(re.fullmatch(r"[A-Za-z0-9_^]{1,16}", name) for name in names)
    assert len({name.casefold() for name in names}) == len(names)


def test_another_separator_is_refused():
    with pytest.raises(ValueError, match="separator"):
        roi_name(RoiName.HIGH, "/")


def test_code_values_schemes_and_meanings_fit_their_attributes():
    terms = [term for term in vars(codes).values() if isinstance(term, CodedTerm)]
    assert len(terms) > 10
    assert all(len(t.value) <= 16 and len(t.scheme) <= 16 and len(t.meaning) <= 64 for t in terms)


def test_each_lobe_is_coded_on_its_own_side():
    for lobe, structure in codes.LOBE_STRUCTURES.items():
        said = structure.laterality.meaning if structure.laterality else structure.type.meaning
        assert ("Left" if lobe.side is Side.LEFT else "right") in said or "Right" in said
        assert ("Left" in said) == (lobe.side is Side.LEFT)
