import json
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from dicom_node.errors import CaseOvertaken, ResultOvertaken
from dicom_node.objects.provenance import EarlierInstance
from dicom_node.results.ledger import PublishedResult, ResultLedger

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


def test_a_result_made_before_another_one_was_published_is_made_again(tmp_path: Path) -> None:
    ledger = ResultLedger(tmp_path / "results")
    ledger.publish(SERIES, FIRST)
    late = replace(SECOND, result_id="r3", predecessor="")
    with pytest.raises(ResultOvertaken):
        ledger.publish(SERIES, late)
    assert ledger.predecessor_of(SERIES, "r3") == FIRST
    ledger.publish(SERIES, replace(late, predecessor="r1"))
    assert [entry["result_id"] for entry in json.loads(ledger.path_of(SERIES).read_text())] == ["r1", "r3"]


def test_a_partial_result_that_comes_late_never_supersedes_the_complete_one(tmp_path: Path) -> None:
    ledger = ResultLedger(tmp_path / "results")
    whole = replace(FIRST, instances=100)
    ledger.publish(SERIES, whole)
    with pytest.raises(CaseOvertaken):
        ledger.publish(SERIES, replace(SECOND, instances=50))
    assert ledger.predecessor_of(SERIES, "r2") == whole
    ledger.publish(SERIES, replace(SECOND, instances=100))  # a new model


def test_an_entry_of_an_earlier_version_has_no_count_and_is_superseded(tmp_path: Path) -> None:
    ledger = ResultLedger(tmp_path / "results")
    ledger.publish(SERIES, FIRST)
    entries = json.loads(ledger.path_of(SERIES).read_text())
    del entries[0]["instances"]
    ledger.path_of(SERIES).write_text(json.dumps(entries))
    ledger.publish(SERIES, replace(SECOND, instances=10))
    assert ledger.predecessor_of(SERIES, "r3") == replace(SECOND, instances=10)


_PUBLISHER = """
import sys
from pathlib import Path
from dicom_node.errors import ResultOvertaken
from dicom_node.results.ledger import PublishedResult, ResultLedger
ledger, name = ResultLedger(Path(sys.argv[1])), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for number in range(30):
    result_id = f"{name}-{number}"
    while True:
        before = ledger.predecessor_of("1.2.3", result_id)
        try:
            ledger.publish("1.2.3", PublishedResult(result_id, before.result_id if before else "", {}))
            break
        except ResultOvertaken:
            continue
"""


def test_processes_that_publish_at_the_same_time_make_one_chain_in_which_nothing_is_missing(tmp_path: Path) -> None:
    commands = [[sys.executable, "-c", _PUBLISHER, str(tmp_path / "results"), name] for name in "abc"]
    pipe = subprocess.PIPE
    with ExitStack() as stack:
        publishers = [stack.enter_context(subprocess.Popen(command, stdin=pipe, stdout=pipe)) for command in commands]
        for publisher in publishers:
            assert publisher.stdout is not None
            assert publisher.stdout.readline() == b"ready\n"
        for publisher in publishers:
            assert publisher.stdin is not None
            publisher.stdin.close()
        assert [publisher.wait(60) for publisher in publishers] == [0, 0, 0]
    entries = json.loads(ResultLedger(tmp_path / "results").path_of(SERIES).read_text())
    ids = [entry["result_id"] for entry in entries]
    assert sorted(ids) == sorted(f"{name}-{number}" for name in "abc" for number in range(30))
    assert [entry["predecessor"] for entry in entries] == ["", *ids[:-1]]
    assert not list(tmp_path.rglob("*.part"))
