"""What a person saw of a case when they decided, as a short text that changes when something that matters does.

A form carries it, and a decision is refused when it does not fit any more: two clicks, or two people, decide once.
Tries that a destination takes by itself, and stages that follow each other, do not change it.
"""

import hashlib
import json

from dicom_node.jobs.attempts import Attempt, Case, made_in_run, standing_attempts

_DIGITS = 16


def case_version(case: Case, priority: str, decisions: int) -> str:
    """The version of a case.

    Args:
        case: with all its attempts.
        priority: of its record.
        decisions: how many have been recorded.
    """
    standing = [[a.id.destination, a.id.run, _word(a)] for a in standing_attempts(case.attempts)]
    facts = [case.state.value, made_in_run(case.attempts), standing, priority, decisions]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:_DIGITS]


def _word(attempt: Attempt) -> str:
    return attempt.result.value if attempt.is_settled and attempt.result is not None else ""
