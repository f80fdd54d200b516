"""What is to become of a quiet series: rules and evidence together.

Headers are read once per state of a series; a series that waits costs nothing until it changes.
"""

import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from dicom_node.reception.completeness import (
    COUNT_UNKNOWN,
    RULE_HOLDS,
    SLICES_MISSING,
    ArchiveCounts,
    CompletenessSettings,
    Doubt,
    count_doubt,
    gap_in,
)
from dicom_node.reception.holds import Hold
from dicom_node.reception.rules import Action, Decision, Rule, decide
from dicom_node.reception.series_facts import SeriesFacts, is_structure_set, read_series_facts
from dicom_node.reception.spool import SpooledSeries


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge says of a series."""

    facts: SeriesFacts
    decision: Decision
    doubt: Doubt | None
    """Why it is held, if it is."""
    is_asking: bool = False
    """The archive has not answered yet; look again soon."""

    @property
    def action(self) -> Action | None:
        """What its rule says; `None` if no rule took it."""
        return self.decision.rule.action if self.decision.rule else None


@dataclass(slots=True)
class Judge:
    """Looks at series, and remembers what it saw of those that wait."""

    rules: Sequence[Rule]
    settings: CompletenessSettings
    counts: ArchiveCounts | None = None
    _seen: dict[str, tuple[str, float, SeriesFacts, Decision]] = field(default_factory=dict)
    _kinds: dict[str, tuple[str, bool]] = field(default_factory=dict)

    def verdict(
        self, series: SpooledSeries, state: str, earlier: Callable[[str], Sequence[Path]], hold: Hold | None
    ) -> Verdict:
        """What is to become of a series that is quiet.

        Args:
            series: as it lies in the spool.
            state: `state_of` it.
            earlier: instances of the same series that came before, by Series Instance UID; they count as well.
            hold: why it waits so far.
        """
        seen_s, facts, decision = self._look(series, state, earlier)
        rule = decision.rule
        if rule is None or rule.action is Action.IGNORE:
            return Verdict(facts, decision, None)
        since_s = hold.since_s if hold and hold.state == state else time.time()
        waited_s = max(time.time() - since_s, time.monotonic() - seen_s)  # a clock set back holds nothing for ever
        doubts = [_rule_doubt(rule), gap_in(facts)]
        is_asking = False
        if self.counts is not None:
            is_known, number = self.counts.of(facts.study_instance_uid, facts.series_instance_uid, state)
            is_asking = not is_known
            doubts += [count_doubt(facts.instances, number)] if is_known else []
        doubt = next((d for d in doubts if d is not None and waited_s < self._limit_s(d.code)), None)
        return Verdict(facts, decision, doubt, is_asking and waited_s < self.settings.count_wait_s)

    def is_structure_set(self, series: SpooledSeries, state: str) -> bool:
        """Whether a series holds RT Structure Sets; these need no quiet period, since each is whole by itself."""
        known = self._kinds.get(series.key)
        if known is None or known[0] != state:
            known = (state, is_structure_set(series.instances))
            self._kinds[series.key] = known
        return known[1]

    def forget_all_but(self, keys: Set[str]) -> None:
        """These series are in the spool; a person may have taken others away."""
        for key in (self._seen.keys() | self._kinds.keys()) - keys:
            self.forget(key)

    def forget(self, key: str) -> None:
        """The series has left the spool."""
        self._kinds.pop(key, None)
        seen = self._seen.pop(key, None)
        if seen is not None and self.counts is not None:
            self.counts.forget(seen[2].series_instance_uid)

    def _look(
        self, series: SpooledSeries, state: str, earlier: Callable[[str], Sequence[Path]]
    ) -> tuple[float, SeriesFacts, Decision]:
        seen = self._seen.get(series.key)
        if seen is None or seen[0] != state:
            alone = read_series_facts(series.instances[:1])
            together = {path.name: path for path in (*earlier(alone.series_instance_uid), *series.instances)}
            facts = read_series_facts(list(together.values()), series.calling_ae_titles)
            seen = (state, time.monotonic(), facts, decide(self.rules, facts))
            self._seen[series.key] = seen
        return seen[1:]

    def _limit_s(self, code: str) -> float:
        """How long a doubt holds a series; after that it goes on without a person."""
        if code == COUNT_UNKNOWN:
            return self.settings.count_wait_s
        return self.settings.hold_limit_s if code == SLICES_MISSING and self.settings.hold_limit_s else float("inf")


def _rule_doubt(rule: Rule) -> Doubt | None:
    if rule.action is not Action.HOLD:
        return None
    return Doubt(RULE_HOLDS, f"The rule {rule.name} wants a person to decide: perfnode release, or perfnode discard.")
