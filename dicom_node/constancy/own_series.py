"""How a node knows the series that it sent to itself: by a UID that only it can make.

The UIDs begin with a number that the node has drawn once and kept. The node answers no queries, and what comes of such
a series goes to the destination that the site names for it or nowhere. So no CT of a patient is taken for a test, and
none of a test for a patient's.
"""

import re
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dicom_node.durable_files import make_directory, write_durably
from dicom_node.errors import UnknownCase
from dicom_node.jobs.cases import CaseFolder
from dicom_node.jobs.priorities import Priority
from dicom_node.reception.rules import Action, Matches, Rule

if TYPE_CHECKING:
    from pydicom import Dataset

SELF_TEST_RULE: Final = "self-test/port"
"""Name of the rule that takes such series; no rule of a site can have it, since theirs hold no slash."""
_ROOT: Final = "series-root"


def self_test_rule(shared_dir: Path) -> Rule:
    """The rule that takes series which the node sent to itself.

    Args:
        shared_dir: of the node; the number is drawn there if there is none yet.
    """
    condition = Matches("series_instance_uid", rf"^{re.escape(_series_root(shared_dir))}\.[0-9]+$")
    return Rule(SELF_TEST_RULE, Action.PROCESS, (condition,), Priority.URGENT)


def with_self_test(rules: Sequence[Rule], shared_dir: Path) -> tuple[Rule, ...]:
    """The rules of a site after the one of the self-test."""
    return self_test_rule(shared_dir), *rules


def is_own_case(case: CaseFolder) -> bool:
    """Whether a case came of a series that the node sent to itself; a case without a record is a patient's."""
    try:
        return case.record().rule == SELF_TEST_RULE
    except UnknownCase:
        return False


def new_series_uid(shared_dir: Path) -> str:
    """A Series Instance UID by which the node will know its own series."""
    return f"{_series_root(shared_dir)}.{time.time_ns() // 1_000_000}"


def as_series(datasets: Iterable["Dataset"], series_instance_uid: str) -> "Iterator[Dataset]":
    """The same images as instances of another series; pixels and places stay. Each dataset is changed itself."""
    for number, dataset in enumerate(datasets, start=1):
        dataset.SeriesInstanceUID = series_instance_uid
        dataset.SOPInstanceUID = f"{series_instance_uid}.{number}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        yield dataset


def _series_root(shared_dir: Path) -> str:
    """Drawn when it is asked for first; of several processes that ask at once, all get the same."""
    path = shared_dir / "constancy" / _ROOT
    if not path.exists():
        make_directory(path.parent)
        drawn = path.with_name(f"{_ROOT}.{secrets.token_hex(6)}")
        # Under 2.25 stands one number (PS3.5 B.2); 30 digits leave room for what follows within 64 characters.
        write_durably(drawn, f"2.25.{1 + secrets.randbelow(10**30)}".encode())
        with suppress(FileExistsError):
            path.hardlink_to(drawn)
        drawn.unlink()
    return path.read_text(encoding="ascii").strip()
