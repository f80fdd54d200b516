"""The checks on two real CTs: no flag as they are, a rejection when they are mirrored or turned round."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from inference.atlas.atlas_lobes import AtlasLobes
from inference.images import to_array, to_grid
from inference.quality.checks import check_ct_and_lobes
from inference.quality.coarse_thorax import CoarseThorax
from inference.quality.findings import Findings, Severity
from inference.quality.laterality import check_axes, check_sides
from inference.quality.lungs import check_mediastinum, check_opacities
from inference.quality.patient import check_breath, check_contrast, check_position
from inference.quality.policy import BY_THE_TABLE
from inference.quality.threshold_lungs import ThresholdLungs
from inference.volumes import CtVolume, LobeMap, SeriesReference
from tests.lung_blocks import ATLAS, codes


def volume(image: sitk.Image) -> CtVolume:
    grid = to_grid(image, frame_of_reference_uid="1.2.3")
    uids = tuple(f"1.2.9.{k}" for k in range(grid.shape[0]))
    return CtVolume(to_array(image), grid, SeriesReference("1.2.7", "1.2.8", "1.2.3", uids))


@pytest.fixture(scope="module")
def cip(test_data: Path) -> CtVolume:
    """A real chest in voxels of 4 mm, from the Chest Imaging Platform."""
    path = test_data / "ct/cip/ct-64.nrrd"
    if not path.is_file():
        pytest.skip("the test data have no ct/cip/ct-64.nrrd")
    return volume(sitk.ReadImage(str(path), sitk.sitkFloat32))


@pytest.fixture(scope="module")
def coarse_a0001(test_data: Path) -> tuple[CoarseThorax, CtVolume]:
    """A patient with lung cancer, 5 mm slices; no lobes are needed."""
    folder = test_data / "ct/lungdx_A0001"
    if not folder.is_dir():
        pytest.skip("the test data have no ct/lungdx_A0001")
    ct = volume(sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)), sitk.sitkFloat32))
    return CoarseThorax.of(ct, LobeMap(np.zeros(ct.grid.shape, np.uint8), ct.grid, ATLAS)), ct


def sides_and_axes(thorax: CoarseThorax) -> Findings:
    lungs = ThresholdLungs.of(thorax)
    return check_sides(thorax, lungs, BY_THE_TABLE) + check_axes(thorax, lungs, BY_THE_TABLE)


def flipped(thorax: CoarseThorax, *axes: int) -> CoarseThorax:
    return CoarseThorax(np.flip(thorax.hu, axes).copy(), np.flip(thorax.labels, axes).copy(), thorax.grid)


def test_the_lobes_of_a_real_ct_get_no_flag(cip: CtVolume) -> None:
    findings = check_ct_and_lobes(cip, AtlasLobes().segment(cip))
    assert codes(findings, Severity.FLAG, Severity.REJECT) == set()


def test_a_mirrored_real_ct_is_rejected(cip: CtVolume) -> None:
    thorax = CoarseThorax.of(cip, LobeMap(np.zeros(cip.grid.shape, np.uint8), cip.grid, ATLAS))
    assert codes(sides_and_axes(thorax)) == set()
    assert codes(sides_and_axes(flipped(thorax, 2)), Severity.REJECT) == {"MIRRORED"}
    assert "BACK_TO_FRONT" in codes(sides_and_axes(flipped(thorax, 1, 2)), Severity.REJECT)


def test_a_tumour_of_the_left_upper_lobe_that_reaches_the_mediastinum_is_flagged(
    coarse_a0001: tuple[CoarseThorax, CtVolume],
) -> None:
    thorax, _ = coarse_a0001
    (finding,) = check_mediastinum(thorax, ThresholdLungs.of(thorax), BY_THE_TABLE)
    assert (finding.code, finding.severity) == ("LEFT_MASS_AT_MEDIASTINUM", Severity.FLAG)
    assert "on the left are" in finding.sentence
    assert 150.0 < finding.measured < 200.0


def test_a_patient_with_cancer_gets_no_other_flag_and_mirrored_a_rejection(
    coarse_a0001: tuple[CoarseThorax, CtVolume],
) -> None:
    thorax, ct = coarse_a0001
    lungs = ThresholdLungs.of(thorax)
    findings = sides_and_axes(thorax) + check_opacities(thorax, lungs, BY_THE_TABLE)
    findings += check_position(thorax, ct.grid, BY_THE_TABLE) + check_breath(thorax, lungs, BY_THE_TABLE)
    assert codes(findings + check_contrast(thorax, lungs, BY_THE_TABLE)) == set()
    assert codes(sides_and_axes(flipped(thorax, 2)), Severity.REJECT) == {"MIRRORED"}
    assert "BACK_TO_FRONT" in codes(sides_and_axes(flipped(thorax, 1, 2)), Severity.REJECT)
    assert "UPSIDE_DOWN" in codes(sides_and_axes(flipped(thorax, 0)), Severity.REJECT)
