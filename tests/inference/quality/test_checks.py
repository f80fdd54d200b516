from dataclasses import replace

import numpy as np
import pytest

from inference.anatomy import Lobe
from inference.densitometric import DensitometricBaseline
from inference.errors import GridMismatch
from inference.function_regions import find_function_regions
from inference.phantom.build import varied
from inference.phantom.thorax import DigitalThorax, draw_thorax
from inference.quality.checks import check_ct_and_lobes, check_map, check_regions
from inference.quality.findings import Severity
from inference.quality.policy import QualityPolicy
from inference.quality.table import CHECKS
from inference.volumes import LossyCompression
from tests.lung_blocks import block, codes, ct_of, lobe_map, normal_labels, the


def test_the_digital_thorax_gives_no_finding(thorax: DigitalThorax) -> None:
    regions = find_function_regions(thorax.perfusion)
    assert check_ct_and_lobes(thorax.ct, thorax.lobes) == ()
    assert check_map(thorax.perfusion) == ()
    assert check_regions(thorax.lobes, thorax.perfusion, regions) == ()


def test_what_the_baseline_makes_of_the_digital_thorax_gives_no_flag(thorax: DigitalThorax) -> None:
    perfusion = DensitometricBaseline().predict(thorax.ct, thorax.lobes)
    assert codes(check_map(perfusion), Severity.FLAG, Severity.REJECT) == set()


@pytest.mark.parametrize("number", range(3))
def test_a_varied_patient_gives_no_flag(number: int) -> None:
    build = varied(number)
    patient = draw_thorax(build.field_of_view((6.0, 4.0, 4.0)), build=build)
    assert codes(check_ct_and_lobes(patient.ct, patient.lobes), Severity.FLAG, Severity.REJECT) == set()


def test_every_finding_is_an_ascii_sentence_of_the_table_with_a_measured_value_beyond_its_limit() -> None:
    labels = normal_labels()
    labels[labels == Lobe.RML] = 0
    labels[:2] = Lobe.RLL
    findings = check_ct_and_lobes(*block(labels, hu=-200.0, spacing_mm=9.0))
    assert len(codes(findings)) > 10
    for finding in findings:
        assert finding.sentence.isascii()
        assert finding.sentence.endswith(".")
        assert finding.measured != finding.limit
        assert finding.unit == CHECKS[finding.code].unit


def test_no_lung_at_all_is_rejected_and_not_a_crash() -> None:
    findings = check_ct_and_lobes(*block(np.zeros((8, 8, 8))))
    assert "LUNG_VOLUME" in codes(findings, Severity.REJECT)


def test_a_volume_of_a_few_voxels_is_no_crash() -> None:
    labels = np.zeros((3, 4, 5))
    labels[1, 1:3, 1], labels[1, 1:3, 3] = Lobe.RLL, Lobe.LLL
    assert "LUNG_VOLUME" in codes(check_ct_and_lobes(*block(labels)), Severity.REJECT)


@pytest.mark.parametrize("seed", range(12))
def test_nonsense_of_any_shape_gets_findings_with_finite_figures(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 24, 3))
    hu = (rng.normal(-300.0, 500.0, shape), rng.choice([-1024.0, -800.0, 40.0, 3071.0], shape))[seed % 2]
    labels = (rng.integers(0, 8, shape), np.full(shape, seed % 6), rng.choice([0, 0, 0, 1, 4], shape))[seed % 3]
    spacing_mm = float(rng.uniform(0.4, 12.0))
    findings = check_ct_and_lobes(ct_of(hu, spacing_mm=spacing_mm), lobe_map(labels, spacing_mm=spacing_mm))
    assert findings
    assert all(np.isfinite([finding.measured, finding.limit]).all() for finding in findings)


def test_the_policy_of_the_site_reaches_every_check(thorax: DigitalThorax) -> None:
    ct, lobes = block(np.zeros((8, 8, 8)))
    policy = QualityPolicy.of({"LUNG_VOLUME": Severity.NOTE, "RIGHT_LUNG_SHARE": Severity.NOTE}, {})
    assert codes(check_ct_and_lobes(ct, lobes, policy), Severity.REJECT) == set()
    noted = QualityPolicy.of({code: Severity.NOTE for code, check in CHECKS.items() if not check.fixed}, {})
    mirrored = thorax.lobes.labels[:, :, ::-1].copy()
    findings = check_ct_and_lobes(*block(mirrored), noted)
    assert codes(findings, Severity.FLAG) == set()
    assert codes(findings, Severity.REJECT) == {"LUNG_SIDES"}


def test_pixels_compressed_with_loss_are_flagged(thorax: DigitalThorax) -> None:
    lossy = replace(thorax.ct, lossy=LossyCompression(8.0, "ISO_10918_1"))
    finding = the(check_ct_and_lobes(lossy, thorax.lobes), "LOSSY_COMPRESSION")
    assert (finding.severity, finding.measured) == (Severity.FLAG, 8.0)
    assert "ratio 8" in finding.sentence
    unknown = replace(thorax.ct, lossy=LossyCompression(0.0, ""))
    assert "nobody knows how" in the(check_ct_and_lobes(unknown, thorax.lobes), "LOSSY_COMPRESSION").sentence


def test_lobes_of_another_grid_are_a_bug_that_shows() -> None:
    ct, _ = block(normal_labels())
    _, lobes = block(normal_labels(), spacing_mm=4.0)
    with pytest.raises(GridMismatch):
        check_ct_and_lobes(ct, lobes)


def test_the_same_ct_gives_the_same_findings(thorax: DigitalThorax) -> None:
    labels = thorax.lobes.labels.copy()
    labels[labels == Lobe.RML] = 0
    broken = block(labels)
    assert check_ct_and_lobes(*broken) == check_ct_and_lobes(*broken) != ()
