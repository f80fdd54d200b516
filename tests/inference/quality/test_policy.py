import re
from math import inf, nan

import pytest

from inference.quality.findings import Severity
from inference.quality.policy import BY_THE_TABLE, OtherRanges, QualityPolicy, problems
from inference.quality.table import CHECKS, NORMAL_SHARE_PERCENT

UCUM = {"ml", "%", "mm", "cm2", "1", "[hnsf'U]"}


@pytest.mark.parametrize("check", CHECKS.values(), ids=lambda check: check.code)
def test_every_row_of_the_table_is_a_row(check) -> None:
    assert re.fullmatch(r"[A-Z][A-Z_]+", check.code)
    assert check.unit in UCUM
    assert check.measures.isascii()
    assert check.usual[0] <= check.usual[1]
    if check.code != "LOSSY_COMPRESSION":  # never usual
        assert check.possible[0] <= check.usual[0]
        assert check.usual[1] <= check.possible[1]
    if check.fixed:
        assert check.severity is Severity.REJECT


def test_the_normal_shares_are_whole_lungs() -> None:
    assert sum(NORMAL_SHARE_PERCENT.values()) == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("measured", "severity", "limit", "words"),
    [
        (1500.0, None, 0, ""),
        (9000.0, None, 0, ""),
        (1499.0, Severity.FLAG, 1500.0, "Expected at least 1500."),
        (9001.0, Severity.FLAG, 9000.0, "Expected at most 9000."),
        (800.0, Severity.FLAG, 1500.0, "Expected at least 1500."),
        (799.0, Severity.REJECT, 800.0, "Expected at least 800."),
        (14001.0, Severity.REJECT, 14000.0, "Expected at most 14000."),
        (nan, Severity.REJECT, 800.0, "Expected at least 800."),
    ],
)
def test_the_limit_that_is_crossed_makes_the_finding(measured, severity, limit, words) -> None:
    findings = BY_THE_TABLE.judge("LUNG_VOLUME", measured, "Both lungs are large.")
    if severity is None:
        assert findings == ()
    else:
        (finding,) = findings
        assert (finding.severity, finding.limit, finding.unit) == (severity, limit, "ml")
        assert finding.sentence == f"Both lungs are large. {words}"


def test_a_site_may_give_a_code_another_severity_and_the_sentence_says_so() -> None:
    policy = QualityPolicy.of({"LUNG_VOLUME": Severity.NOTE}, {})
    for measured, by_the_table in ((1000.0, "a flag"), (100.0, "a rejection")):
        (finding,) = policy.judge("LUNG_VOLUME", measured, "Small.")
        assert finding.severity is Severity.NOTE
        assert finding.sentence.endswith(f"This site takes it as a note instead of {by_the_table}.")
    (other,) = policy.judge("RML_SHARE", 30.0, "Large.")
    assert (other.severity, "site" in other.sentence) == (Severity.FLAG, False)
    (same,) = QualityPolicy.of({"RML_SHARE": Severity.FLAG}, {}).judge("RML_SHARE", 30.0, "Large.")
    assert "site" not in same.sentence


def test_a_site_may_have_other_ranges() -> None:
    policy = QualityPolicy.of({}, {"LUNG_VOLUME": OtherRanges(usual=(500.0, 9000.0), possible=(300.0, inf))})
    assert policy.judge("LUNG_VOLUME", 600.0, "Small.") == ()
    assert [f.severity for f in policy.judge("LUNG_VOLUME", 400.0, "Small.")] == [Severity.FLAG]
    assert [f.severity for f in policy.judge("LUNG_VOLUME", 200.0, "Small.")] == [Severity.REJECT]
    assert [f.severity for f in policy.judge("LUNG_VOLUME", 20000.0, "Huge.")] == [Severity.FLAG]
    only_usual = QualityPolicy.of({}, {"LUNG_VOLUME": OtherRanges(usual=(2000.0, 9000.0))})
    assert [f.severity for f in only_usual.judge("LUNG_VOLUME", 700.0, "Small.")] == [Severity.REJECT]


@pytest.mark.parametrize(
    ("severities", "ranges", "said"),
    [
        ({"RML_SHAER": "note"}, {}, "severities.RML_SHAER: there is no check of this code"),
        ({"MAP_NOT_FINITE": "note"}, {}, "severities.MAP_NOT_FINITE: fixed"),
        ({"LABELS_UNKNOWN": "flag"}, {}, "severities.LABELS_UNKNOWN: fixed"),
        ({}, {"LUNG_SIDES": OtherRanges(usual=(-500.0, 500.0))}, "limits.LUNG_SIDES: fixed"),
        ({}, {"NONSENSE": OtherRanges()}, "limits.NONSENSE: there is no check"),
        ({}, {"RML_SHARE": OtherRanges(usual=(20.0, 2.0))}, "limits.RML_SHARE.usual: 20 lies above 2"),
        ({}, {"RML_SHARE": OtherRanges(usual=(nan, 2.0))}, "limits.RML_SHARE.usual: nan lies above 2"),
        ({}, {"LUNG_VOLUME": OtherRanges(usual=(700.0, 9000.0))}, "must lie within possible"),
        ({}, {"LUNG_VOLUME": OtherRanges(possible=(2000.0, 9000.0))}, "must lie within possible"),
    ],
)
def test_what_cannot_be_changed_is_said(severities, ranges, said) -> None:
    (problem,) = problems(severities, ranges)
    assert said in problem
    with pytest.raises(ValueError, match=re.escape(said)):
        QualityPolicy.of({code: Severity(s) for code, s in severities.items()}, ranges)


def test_all_mistakes_are_said_at_once() -> None:
    assert len(problems(["A", "B", "MAP_MEAN"], {"C": OtherRanges(), "RML_SHARE": OtherRanges(usual=(3.0, 1.0))})) == 5


def test_changes_are_what_differs_in_any_order() -> None:
    assert BY_THE_TABLE.changes() == {}
    one = QualityPolicy.of({"METAL": Severity.NOTE, "RML_SHARE": Severity.NOTE}, {"METAL": OtherRanges((0.0, 1.0))})
    two = QualityPolicy.of({"RML_SHARE": Severity.NOTE, "METAL": Severity.NOTE}, {"METAL": OtherRanges((0.0, 1.0))})
    assert one == two
    assert one.changes() == two.changes()
    assert one.changes() != QualityPolicy.of({"METAL": Severity.NOTE}, {}).changes()
