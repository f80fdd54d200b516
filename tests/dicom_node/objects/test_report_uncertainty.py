"""What the structured report says of an ensemble: range and spread of each mean, the distance, and what they mean."""

from dataclasses import replace

import highdicom
import numpy as np
import pytest
from pydicom import dcmread

from inference.anatomy import Lobe
from inference.fingerprint import Fingerprint, UsualRange
from inference.uncertainty import ConformalInterval, uncertainty_of
from tests.dicom_node.objects.test_report import evaluations, objects_of, saved
from tests.tools import error_lines

WIDTH = (0.1, 0.2)


def with_ensemble(chest):
    """Two networks, the second says one and a half times the first in the right upper lobe; RML was not calibrated."""
    lungs, lobes, grid = chest.lobes.lungs, chest.lobes.labels, chest.grid
    first = np.where(lungs, 1.0, 0.0).astype(np.float32)
    second = np.where(lobes == Lobe.RUL, 1.5, first).astype(np.float32)
    calibrated = {lobe.tg263: WIDTH for lobe in Lobe if lobe is not Lobe.RML}
    interval = ConformalInterval(0.9, 0.9, (11, 11), WIDTH, calibrated, 0.2, "Invented patients, in silico.")
    fingerprint = Fingerprint({"noise": UsualRange(2.0, 1.0, 3.0, "1")}, 1.0, 0.02, 9, "Invented patients, in silico.")
    known = uncertainty_of(np.stack([first, second]), lungs, lobes, grid, interval)
    return replace(
        chest,
        perfusion=replace(chest.perfusion, uncertainty=known, domain=fingerprint.distance({"noise": 2.75})),
    )


def groups(report, path):
    read = highdicom.sr.srread(saved(report, path))
    return read, {group.tracking_identifier: group for group in read.content.get_volumetric_roi_measurement_groups()}


def named(items, code):
    return [item for item in items if item.ConceptNameCodeSequence[0].CodeValue == code]


def test_dciodvfy_finds_no_error(chest, tmp_path):
    assert error_lines(saved(objects_of(with_ensemble(chest))[0], tmp_path / "sr.dcm")) == []


def test_each_mean_of_a_calibrated_lobe_has_its_range_in_percent(chest, tmp_path):
    _, lobes = groups(objects_of(with_ensemble(chest))[0], tmp_path / "sr.dcm")
    (mean,) = named(lobes["Lung_RUL"][0].ContentSequence, "110831")
    (upper,), (lower,) = (named(mean.ContentSequence, code) for code in ("371886008", "371885007"))
    for item, percent in ((upper, 45.0), (lower, 35.0)):  # members 1.0 +- 0.1 and 1.5 +- 0.2 around 1.25
        value = item.MeasuredValueSequence[0]
        assert float(value.NumericValue) == pytest.approx(percent, rel=1e-6)
        assert value.MeasurementUnitsCodeSequence[0].CodeValue == "%"


def test_a_lobe_that_was_not_calibrated_has_a_spread_and_no_range(chest, tmp_path):
    _, lobes = groups(objects_of(with_ensemble(chest))[0], tmp_path / "sr.dcm")
    content = lobes["Lung_RML"][0].ContentSequence
    (mean,) = named(content, "110831")
    assert named(mean.ContentSequence, "371886008") == []
    assert float(named(content, "MEMBERSPREAD")[0].MeasuredValueSequence[0].NumericValue) == 0.0
    (spread,) = named(lobes["Lung_RUL"][0].ContentSequence, "MEMBERSPREAD")
    assert float(spread.MeasuredValueSequence[0].NumericValue) == pytest.approx(50.0 / 2.0**0.5, rel=1e-6)


def test_the_distance_is_told_once_also_where_it_is_no_finding(chest, tmp_path):
    path = saved(objects_of(with_ensemble(chest))[0], tmp_path / "sr.dcm")

    def everything(item):
        yield item
        for child in item.get("ContentSequence", ()):
            yield from everything(child)

    items = [item for item in everything(dcmread(path)) if "ConceptNameCodeSequence" in item]
    (distance,) = named(items, "DOMAINDIST")
    assert float(distance.MeasuredValueSequence[0].NumericValue) == pytest.approx(0.75)
    assert distance.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue == "1"


def test_it_says_what_the_figures_promise_and_that_training_was_in_silico(chest):
    (said,) = (
        text for name, text, _ in evaluations(objects_of(with_ensemble(chest))[0]) if name.startswith("What the")
    )
    assert "for at least 90 % of patients" in said
    assert "in silico" in said
    assert "0.75" in said


def test_a_report_of_another_engine_says_nothing_of_it(chest):
    report, *_ = objects_of(chest)
    assert not [name for name, *_ in evaluations(report) if name.startswith("What the")]
    assert "MEMBERSPREAD" not in str(report)
    assert "DOMAINDIST" not in str(report)
