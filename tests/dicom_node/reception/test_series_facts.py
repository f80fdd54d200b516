"""What headers say of a series: phases of breathing, planes, spacing, contrast; broken ones break nothing."""

from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import EnhancedCTImageStorage

from dicom_node.reception.completeness import gap_in
from dicom_node.reception.series_facts import SeriesFacts, read_series_facts
from dicom_node.reception.series_phase import Phase, phase_of
from tests.dicom_node.reception.conftest import chest_slice
from tests.small_ct import write_file

AXIAL = ["ORIGINAL", "PRIMARY", "AXIAL"]


def facts_of(folder: Path, *datasets: Dataset) -> SeriesFacts:
    return read_series_facts([write_file(folder, dataset) for dataset in datasets], ("SCANNER",))


@pytest.mark.parametrize(
    ("description", "image_type", "phase"),
    [
        ("Thorax 3.0 B30f", AXIAL, Phase.NONE),
        ("50% Ex", AXIAL, Phase.SINGLE),
        ("CT 4D T=50%", AXIAL, Phase.SINGLE),
        ("P4^P100^S300^I003 Gated, 50.0%A", AXIAL, Phase.SINGLE),
        ("4D Thorax T30", AXIAL, Phase.SINGLE),
        ("Resp phase 3", AXIAL, Phase.SINGLE),
        ("Spine T10-L2", AXIAL, Phase.NONE),
        ("CHEST ASIR-V 50%", AXIAL, Phase.NONE),
        ("4D AVG 0-90%", AXIAL, Phase.AVERAGE),
        ("AIP", AXIAL, Phase.AVERAGE),
        ("4D_MIP_2mm", AXIAL, Phase.MIP),
        ("MinIP 5 mm", AXIAL, Phase.MINIP),
        ("Min IP", AXIAL, Phase.MINIP),
        ("AMIPAQUE", AXIAL, Phase.NONE),
        ("Save screen", AXIAL, Phase.NONE),
        ("Thorax", ["DERIVED", "SECONDARY", "AXIAL", "AVERAGE"], Phase.AVERAGE),
        ("Thorax", ["DERIVED", "PRIMARY", "VOLUME", "MAXIMUM"], Phase.MIP),
        ("Thorax 50%", ["DERIVED", "SECONDARY", "AXIAL", "MPR", "MIP"], Phase.MIP),
        ("", "AXIAL", Phase.NONE),
    ],
)
def test_phase_of_breathing_is_found_in_words(description: str, image_type: Any, phase: Phase) -> None:
    dataset = Dataset()
    dataset.SeriesDescription, dataset.ImageType = description, image_type
    assert phase_of(dataset) is phase


@pytest.mark.parametrize(
    ("keyword", "value", "phase"),
    [
        ("NominalPercentageOfRespiratoryPhase", 50.0, Phase.SINGLE),
        ("NominalPercentageOfRespiratoryPhase", 0.0, Phase.SINGLE),
        ("NumberOfTemporalPositions", 10, Phase.SINGLE),
        ("NumberOfTemporalPositions", 1, Phase.NONE),
    ],
)
def test_phase_of_breathing_is_found_in_attributes(keyword: str, value: Any, phase: Phase) -> None:
    dataset = Dataset()
    setattr(dataset, keyword, value)
    assert phase_of(dataset) is phase


def test_few_headers_stand_for_many_slices(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, *(chest_slice(k) for k in range(10)))
    assert (facts.instances, len(facts.headers), facts.spacing_between_slices_mm) == (10, 1, 3.0)
    (header,) = facts.headers
    assert (header.orientation, header.slice_thickness_mm, header.contrast) == ("axial", 3.0, False)
    assert header.image_type == "ORIGINAL\\PRIMARY\\AXIAL"
    assert header.patient_name == "Real^Person"


@pytest.mark.parametrize(("agent", "contrast"), [("", False), ("NONE", False), ("ULTRAVIST", True)])
def test_contrast_is_what_names_an_agent(tmp_path: Path, agent: str, contrast: bool) -> None:
    facts = facts_of(tmp_path, chest_slice(1, ContrastBolusAgent=agent))
    assert facts.headers[0].contrast is contrast


@pytest.mark.parametrize(
    ("cosines", "orientation"),
    [
        ([1, 0, 0, 0, 1, 0], "axial"),
        ([1, 0, 0, 0, 0, -1], "coronal"),
        ([0, 1, 0, 0, 0, -1], "sagittal"),
        ([1, 0, 0, 0, 0.7071, 0.7071], "oblique"),
    ],
)
def test_planes_have_names(tmp_path: Path, cosines: list[float], orientation: str) -> None:
    facts = facts_of(tmp_path, chest_slice(1, ImageOrientationPatient=cosines))
    assert facts.headers[0].orientation == orientation


def test_broken_headers_are_facts_too(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.dcm"
    nothing.write_bytes(b"not DICOM")
    facts = read_series_facts([nothing])
    assert (facts.instances, facts.headers[0].modality, facts.spacing_between_slices_mm) == (1, "", None)
    content = write_file(tmp_path, chest_slice(1)).read_bytes()
    broken = tmp_path / "broken.dcm"
    spoilt = [content.replace(b"DS\x04\x003.0 ", b"DS\x04\x00abc "), content.replace(b"\\3.0", b"\\x.0")]
    assert content not in spoilt
    for bad in (*spoilt, *(content[:length] for length in range(0, len(content), 7))):
        broken.write_bytes(bad)
        assert read_series_facts([broken]).instances == 1


@pytest.mark.parametrize(("missing", "words"), [((), ""), ((5,), "About 1 "), ((5, 6, 7), "About 3 "), ((0, 19), "")])
def test_holes_are_seen_and_ends_are_not(tmp_path: Path, missing: tuple[int, ...], words: str) -> None:
    doubt = gap_in(facts_of(tmp_path, *(chest_slice(k) for k in range(20) if k not in missing)))
    assert (doubt.sentence if doubt else "").startswith(words)
    assert (doubt is None) == (words == "")


def test_steps_up_to_one_and_a_half_are_no_hole(tmp_path: Path) -> None:
    heights = [0, 3, 6, 9, 13.4, 16.4, 19.4]
    assert gap_in(facts_of(tmp_path, *(chest_slice(k, z_mm=z) for k, z in enumerate(heights)))) is None
    heights[4:] = [13.6, 16.6, 19.6]
    assert gap_in(facts_of(tmp_path, *(chest_slice(k, z_mm=z) for k, z in enumerate(heights)))) is not None


def test_two_images_at_one_place_make_no_hole(tmp_path: Path) -> None:
    twice = [chest_slice(k, z_mm=3.0 * (k % 10)) for k in range(20)]
    assert gap_in(facts_of(tmp_path, *twice)) is None


def test_geometry_says_nothing_where_it_cannot(tmp_path: Path) -> None:
    spread = [chest_slice(k, z_mm=z) for k, z in enumerate((0, 3, 6, 60))]
    assert gap_in(facts_of(tmp_path, *spread)) is not None
    for attributes in ({"SOPClassUID": EnhancedCTImageStorage}, {"ImagePositionPatient": None}):
        changed = [chest_slice(k, **attributes) for k in range(4)]
        assert gap_in(facts_of(tmp_path, *changed)) is None
    turned = [chest_slice(1), chest_slice(2), chest_slice(9, ImageOrientationPatient=[1, 0, 0, 0, 0, -1])]
    assert gap_in(facts_of(tmp_path, *turned)) is None
