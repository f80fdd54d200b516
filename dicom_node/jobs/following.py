"""What comes after an attempt: which stages and deliveries are queued next, with which delay.

A pure function of the attempt and its output, so that a node that is killed between an output and what follows from it
queues the same again when it is started anew.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dicom_node.jobs.attempts import AttemptId, Result
from dicom_node.jobs.stages import FOLLOWING, Stage

Output = dict[str, Any]
_LONGEST_PAUSE_S = 60.0


@dataclass(frozen=True, slots=True)
class Next:
    """One attempt that is to be queued."""

    attempt: AttemptId
    tries: int = 1
    """How often its stage has been tried with it; a crash counts."""
    delay_s: float = 0.0


def after(attempt: AttemptId, output: Output, tries: int) -> list[Next]:
    """What follows from the output of an attempt."""
    if attempt.destination:
        return list(_after_transmission(attempt, output))
    return list(_after_stage(attempt, output, tries))


def _after_stage(attempt: AttemptId, output: Output, tries: int) -> Iterator[Next]:
    if output["result"] == Result.AGAIN:
        pause_s = min(2.0**tries, _LONGEST_PAUSE_S)
        if back_to := output.get("back_to"):  # a run of its own: the attempts of this one have taken their names
            yield Next(AttemptId(attempt.case_id, attempt.run + 1, back_to, 1), delay_s=pause_s)
            return
        if (wait_s := output.get("wait_s")) is not None:  # it was not begun: no crash, and nothing counts
            yield Next(attempt.following(attempt.stage), tries, wait_s)
            return
        yield Next(attempt.following(attempt.stage), tries + 1, pause_s)
    elif output["result"] == Result.DONE:
        following = FOLLOWING[attempt.stage]
        if following not in (Stage.DELIVER, Stage.TELL, Stage.RESEARCH):
            yield Next(AttemptId(attempt.case_id, attempt.run, following, 1))
            return
        for name in output["destinations"]:
            yield Next(AttemptId(attempt.case_id, attempt.run, f"{following}.{name}", 1))
        for name in output.get("shadows", ()):
            yield Next(AttemptId(attempt.case_id, attempt.run, f"{Stage.SHADOW}.{name}", 1))
        if output.get("candidate"):  # last: it waits until all before it is done
            yield Next(AttemptId(attempt.case_id, attempt.run, Stage.CANDIDATE, 1))
    elif output.get("notice"):
        yield Next(AttemptId(attempt.case_id, attempt.run, Stage.NOTICE, 1))


def _after_transmission(attempt: AttemptId, output: Output) -> Iterator[Next]:
    if output["result"] == Result.AGAIN:
        then = attempt.following(Stage.DELIVER if output.get("missing") else attempt.stage)
        yield Next(then, then.attempt, output.get("wait_s", 0.0))
    elif output["result"] == Result.DONE and output.get("verify"):
        then = attempt.following(Stage.VERIFY)
        yield Next(then, then.attempt)
