from dataclasses import replace
from pathlib import Path

from dicom_node.objects.provenance import EarlierInstance
from dicom_node.results import PublishedResult, ResultLedger

SERIES = "1.2.3"
FIRST = PublishedResult("r1", "", {"parametric-map": EarlierInstance("class", "map-1", "series-1")})
SECOND = PublishedResult("r2", "r1", {"parametric-map": EarlierInstance("class", "map-2", "series-2")})


def test_the_first_result_of_a_series_supersedes_nothing(tmp_path: Path) -> None:
    assert ResultLedger(tmp_path / "results").predecessor_of(SERIES, "r1") is None


def test_a_new_result_supersedes_the_newest_one_of_its_series_and_of_no_other(tmp_path: Path) -> None:
    ledger = ResultLedger(tmp_path / "results")
    ledger.publish(SERIES, FIRST)
    assert ledger.predecessor_of(SERIES, "r2") == FIRST
    ledger.publish(SERIES, SECOND)
    assert ledger.predecessor_of(SERIES, "r3") == SECOND
    assert ledger.predecessor_of("1.2.4", "r3") is None


def test_a_result_made_again_supersedes_what_it_superseded_before(tmp_path: Path) -> None:
    ledger = ResultLedger(tmp_path / "results")
    ledger.publish(SERIES, FIRST)
    assert ledger.predecessor_of(SERIES, "r1") is None
    ledger.publish(SERIES, SECOND)
    assert ledger.predecessor_of(SERIES, "r2") == FIRST


def test_a_model_put_back_into_service_supersedes_the_one_it_replaces(tmp_path: Path) -> None:
    ledger = ResultLedger(tmp_path / "results")
    ledger.publish(SERIES, FIRST)
    ledger.publish(SERIES, SECOND)
    assert ledger.predecessor_of(SERIES, "r1") == SECOND


def test_publishing_again_adds_objects_and_no_entry(tmp_path: Path) -> None:
    ledger = ResultLedger(tmp_path / "results")
    ledger.publish(SERIES, FIRST)
    ledger.publish(SERIES, replace(FIRST, objects={"report": EarlierInstance("class", "report-1", "series-9")}))
    newest = ledger.predecessor_of(SERIES, "r2")
    assert newest is not None
    assert set(newest.objects) == {"parametric-map", "report"}
    assert ledger.predecessor_of(SERIES, "r1") is None
