"""What a person or a script reads on the console: tables for a terminal, JSON for programs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dicom_node.jobs.attempts import Case, CaseState, held_since_s
from dicom_node.jobs.cases import CaseRecord
from dicom_node.jobs.priorities import Priority
from dicom_node.reception.arrivals import Arrival, ArrivalState
from dicom_node.reception.rules import Rule
from dicom_node.reception.trial import Trial
from inference.anatomy import Lobe

if TYPE_CHECKING:
    from dicom_node.checks.check import CheckReport

_STYLES = {
    CaseState.PROCESSING: "cyan",
    CaseState.DELIVERING: "cyan",
    CaseState.DELIVERED: "green",
    CaseState.REJECTED: "yellow",
    CaseState.FAILED: "red",
    CaseState.CANCELLED: "dim",
    CaseState.HELD: "yellow",
    CaseState.DISCARDED: "dim",
    CaseState.DRY_RUN: "blue",
}


_ARRIVAL_STYLES = {
    ArrivalState.RECEIVING: "cyan",
    ArrivalState.RELEASED: "cyan",
    ArrivalState.INTERRUPTED: "yellow",
    ArrivalState.HELD: "yellow",
    ArrivalState.IGNORED: "dim",
    ArrivalState.UNMATCHED: "dim",
    ArrivalState.DISCARDED: "dim",
}
_SHARES = ("mean_perfusion", "perfusion_fraction", "high_fraction", "low_fraction")


def case_fields(case: Case, *, with_attempts: bool = False) -> dict[str, Any]:
    """A case as plain values."""
    fields: dict[str, Any] = {
        "case": case.case_id,
        "state": case.state.value,
        "stage": case.stage.value,
        "code": case.code,
        "message": case.message,
        "created_at": _time(case.created_at_s),
        "updated_at": _time(case.updated_at_s),
        "held_since": {name: _time(since_s) for name, since_s in held_since_s(case).items()},
    }
    if with_attempts:
        fields["attempts"] = [
            {"id": str(a.id), "status": a.status, "updated_at": _time(a.updated_at_s), **a.output}
            for a in case.attempts
        ]
    return fields


def print_json(console: Console, content: Any) -> None:
    """Print plain values as JSON, never wrapped or coloured."""
    console.file.write(json.dumps(content, indent=1) + "\n")


def print_cases(console: Console, cases: Sequence[Case], arrivals: Sequence[Arrival]) -> None:
    """The list of cases, the newest last, and below it the series that are no cases."""
    table = Table("case", "state", "stage", "code", "since", title="Cases")
    for case in cases:
        state = f"[{_STYLES[case.state]}]{case.state.value}[/]"
        table.add_row(case.case_id, state, case.stage.value, case.code, _time(case.updated_at_s))
    console.print(table)
    if not arrivals:
        return
    table = Table("series", "state", "images", "code", "why", "since", title="Series that are no cases")
    for arrival in arrivals:
        state = f"[{_ARRIVAL_STYLES[arrival.state]}]{arrival.state.value}[/]"
        since = _time(arrival.since_s) if arrival.since_s else ""
        count = str(arrival.instances)
        table.add_row(arrival.series_key[:8], state, count, arrival.code, escape(arrival.sentence), since)
    console.print(table)


def arrival_fields(arrival: Arrival) -> dict[str, Any]:
    """A series that is no case as plain values."""
    since = _time(arrival.since_s) if arrival.since_s else ""
    return {**asdict(arrival), "state": arrival.state.value, "since": since}


def origin_fields(record: CaseRecord) -> dict[str, Any]:
    """Why a series became a case, as plain values."""
    return {
        "instances": record.instances,
        "rule": record.rule,
        "released": record.released,
        "priority": record.priority,
    }


def print_origin(console: Console, record: CaseRecord) -> None:
    """Why a series became a case."""
    released = f", released by a person in spite of {record.released}" if record.released else ""
    hurry = f"; {record.priority}" if record.priority != Priority.NORMAL else ""
    console.print(f"{record.instances} images, taken by rule {record.rule or 'of an earlier version'}{released}{hurry}")


def rule_fields(rule: Rule) -> dict[str, Any]:
    """A rule as plain values."""
    conditions = {condition.attribute: condition.wanted() for condition in rule.conditions}
    return {
        "name": rule.name,
        "action": rule.action.value,
        "priority": rule.priority.value,
        "conditions": conditions,
    }


def print_rules(console: Console, rules: Sequence[Rule]) -> None:
    """The rules in the order in which they are asked."""
    table = Table("", "rule", "action", "all of these", title="Rules; the first that takes a series decides")
    for number, rule in enumerate(rules, start=1):
        wanted = "\n".join(f"{c.attribute}: {c.wanted()}" for c in rule.conditions) or "takes everything"
        hurry = f", {rule.priority}" if rule.priority is not Priority.NORMAL else ""
        table.add_row(str(number), rule.name, rule.action.value + hurry, escape(wanted))
    console.print(table)


def trial_fields(trial: Trial) -> dict[str, Any]:
    """What the rules make of a series, as plain values; a series is named by its first file."""
    return {
        "file": str(trial.files[0]),
        "instances": trial.facts.instances,
        "outcome": trial.outcome,
        "rule": trial.decision.name,
        "held": asdict(trial.doubt) if trial.doubt else None,
        "asked": [
            {**rule_fields(asked.rule), "takes": asked.takes, "conditions": [asdict(a) for a in asked.answers]}
            for asked in trial.decision.asked
        ],
    }


def print_trials(console: Console, trials: Sequence[Trial]) -> None:
    """For each series, which rule takes it, and why those before it do not."""
    for trial in trials:
        console.print(f"\n{trial.facts.instances} file(s), first {trial.files[0]}", markup=False, highlight=False)
        table = Table("rule", "action", "", "why")
        for asked in trial.decision.asked:
            takes = "[green]takes it[/]" if asked.takes else "no"
            why = asked.why_not or tuple(f"{a.attribute} is {a.found}" for a in asked.answers)
            table.add_row(asked.rule.name, asked.rule.action.value, takes, escape("\n".join(why)))
        if trial.decision.asked:
            console.print(table)
        by = f" by rule {trial.decision.name}" if trial.decision.rule else ""
        console.print(f"→ {trial.outcome}{by}", style="bold", markup=False)
        if trial.doubt:
            console.print(f"  but held with {trial.doubt.code}: {trial.doubt.sentence}", style="yellow", markup=False)
    if not trials:
        console.print("There is no DICOM file.", style="yellow")


def print_case(console: Console, case: Case) -> None:
    """One case with its attempts."""
    console.print(f"[bold]{case.case_id}[/]  [{_STYLES[case.state]}]{case.state.value}[/]  {case.code}")
    if case.message:
        console.print(case.message, highlight=False)
    for name, since_s in held_since_s(case).items():
        console.print(f"waits for a person since {_time(since_s)}: {name}", style="yellow", markup=False)
    table = Table("time", "stage", "attempt", "status", "result", "code")
    for attempt in case.attempts:
        table.add_row(
            _time(attempt.updated_at_s),
            attempt.id.unit,
            f"{attempt.id.run}.{attempt.id.attempt}",
            attempt.status,
            attempt.result.value if attempt.result else "",
            str(attempt.output.get("code", "")),
        )
    console.print(table)


def check_fields(report: "CheckReport") -> dict[str, Any]:
    """What a check found, as plain values."""
    return {
        "faults": [asdict(fault) for fault in report.faults],
        "checked": list(report.checked),
        "not_checked": [asdict(other) for other in report.not_checked],
        "untried": [asdict(rules) for rules in report.untried],
    }


def print_check(console: Console, report: "CheckReport") -> None:
    """What a check found: faults first, then what it could not say anything about."""
    table = Table("object", "code", "what is wrong", "where", title="Faults")
    for fault in report.faults:
        table.add_row(fault.object, f"[red]{fault.code}[/]", escape(fault.sentence), escape(fault.where))
    if report.faults:
        console.print(table)
    for other in report.not_checked:
        console.print(f"not checked: {other.file}: {other.reason}", style="dim", highlight=False, markup=False)
    for rules in report.untried:
        console.print(
            f"{rules.object}: {len(rules.codes)} rule(s) not tried, they need {rules.need}: {', '.join(rules.codes)}",
            style="yellow",
            highlight=False,
            markup=False,
        )
    verdict = "[red]{} fault(s)[/]" if report.faults else "[green]{} faults[/]"
    console.print(f"{len(report.checked)} object(s) checked, {verdict.format(len(report.faults))}")


def print_lobar_table(console: Console, facts: Mapping[str, Any]) -> None:
    """The lobar table and findings of a result.

    Args:
        console: where to print.
        facts: content of `result.json`.
    """
    table = Table(title="Relative perfusion by lobe (RESEARCH)")
    for head in ("lobe", "volume, ml", "mean, % of lung mean", "share of perfusion, %", "high, %", "low, %"):
        table.add_column(head, justify="left" if head == "lobe" else "right")
    for lobe in Lobe:
        row = facts["lobar"][lobe.name]
        shares = [f"{100 * row[key]:.0f}" for key in _SHARES] if row["volume_ml"] else ["n/a"] * len(_SHARES)
        table.add_row(lobe.name, f"{row['volume_ml']:.0f}", *shares)
    console.print(table)
    for identity in (facts["segmenter"], facts["model"]):
        console.print(
            f"{identity['name']} {identity['version']}: {identity['caveat']}", style="yellow", highlight=False
        )
    for line in _uncertainty_lines(facts):
        console.print(line, highlight=False)
    for finding in facts["findings"]:
        console.print(f"{finding['severity']}: {finding['sentence']}", style="yellow", highlight=False)


def _uncertainty_lines(facts: Mapping[str, Any]) -> list[str]:
    """What an ensemble knows of its own map; nothing of other engines."""
    lines = []
    if known := facts.get("uncertainty"):
        lines.append(f"networks differ by {100 * known['mean_spread']:.1f} % of the lung mean on average")
        reaches = [
            f"{name} -{100 * region['below']:.0f} +{100 * region['above']:.0f}"
            for name, region in known["regions"].items()
            if region["below"] is not None
        ]
        if reaches:
            level = f"{100 * known['interval']['level']:.0f} %"
            lines.append(
                f"calibrated range of the mean for {level} of patients, in % of lung mean: {', '.join(reaches)}"
            )
    if domain := facts.get("domain"):
        lines.append(f"distance of the CT from the training of the model: {domain['score']:.2f} (limit 1)")
    return lines


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().isoformat(timespec="seconds")
