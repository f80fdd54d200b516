"""Target: one instance as received, through the door, then through the reader of CT series.

The first byte of an input chooses the transfer syntax and what stands beside the instance; the rest is its dataset.
What the door accepts pydicom must be able to read, and the reader must accept the series or refuse it by name.
"""

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dicom_node.errors import InvalidInstance
from dicom_node.reception.encoded_dataset import read_header
from dicom_node.reception.part10 import file_preamble
from dicom_node.reception.rules import Action, Condition, Is, Matches, OneOf, Rule, Within, decide
from dicom_node.reception.series_facts import read_series_facts
from inference.ct.headers import FEWEST_SLICES
from inference.ct.instances import ct_instances
from inference.ct.series import read_ct_files, read_ct_series
from inference.errors import UnusableSeries
from inference.geometry import Grid
from inference.volumes import CtVolume, SeriesReference

SYNTAXES: Final[tuple[UID, ...]] = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    RLELossless,
    JPEGLSLossless,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    ExplicitVRLittleEndian,
)
"""By the lowest three bits of an input's first byte."""
AMONG_GOOD_SLICES: Final = 0x08
"""Bit of the first byte: the instance stands among good slices, instead of in a stack of its own copies."""


def one_input(data: bytes) -> None:
    """Accept or refuse one instance and the series it belongs to.

    Raises:
        Exception: whatever is not documented, which is a finding.
    """
    if not data:
        return
    syntax, encoded = SYNTAXES[data[0] & 7], data[1:]
    try:
        header = read_header(encoded, syntax)
    except InvalidInstance:
        return
    content = file_preamble(header.sop_class_uid, header.sop_instance_uid, syntax) + encoded
    _judge(content)
    try:
        series = _among_good_slices(content) if data[0] & AMONG_GOOD_SLICES else _stack_of(content)
    except Exception:  # pydicom cannot read it, which `read_ct_files` has said by name
        return
    try:
        read_ct_series(series)
    except UnusableSeries:
        return


def _judge(content: bytes) -> None:
    """What the intake asks of a file, and what becomes of it alone; whatever it holds, there is an answer."""
    path = _scratch() / "instance.dcm"
    path.write_bytes(content)
    facts = read_series_facts([path, path])
    _ = facts.heights_mm, facts.spacing_between_slices_mm
    decide(_rules(), facts)
    with suppress(UnusableSeries):
        read_ct_files([path])


@cache
def _scratch() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzz-reader-"))


@cache
def _rules() -> tuple[Rule, ...]:
    """A rule with a condition of each kind, none of which takes every series."""
    conditions: tuple[Condition, ...] = (
        Matches("series_description", "no such words"),
        OneOf("modality", ("PT",)),
        Within("slice_thickness_mm", 50.0, None),
        Within("spacing_between_slices_mm", 50.0, None),
        Is("contrast", True),
    )
    return tuple(Rule(f"rule-{number}", Action.PROCESS, (condition,)) for number, condition in enumerate(conditions))


def _among_good_slices(content: bytes) -> Sequence[Dataset]:
    return [dcmread(BytesIO(content)), *_others()]


@cache
def _others() -> list[Dataset]:
    return good_series()[1:]


def _stack_of(content: bytes) -> Sequence[Dataset]:
    """Copies of one instance at even distances: what is wrong with one is wrong with all, so they agree."""
    series = [dcmread(BytesIO(content)) for _ in range(FEWEST_SLICES)]
    for number, dataset in enumerate(series):
        dataset.add_new("SOPInstanceUID", "UI", f"1.2.{number + 1}")
        dataset.add_new("ImagePositionPatient", "DS", [0, 0, number])
    return series


def good_series(side: int = 6) -> list[Dataset]:
    """A series that the reader accepts, of tiny slices."""
    grid = Grid.axial((FEWEST_SLICES, side, side), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), frame_of_reference_uid="1.2.9")
    uids = tuple(f"1.2.{number + 1}" for number in range(FEWEST_SLICES))
    hu = np.arange(FEWEST_SLICES * side * side, dtype=np.float32).reshape(grid.shape) - 900
    return list(ct_instances(CtVolume(hu, grid, SeriesReference("1.2.7", "1.2.8", "1.2.9", uids))))
