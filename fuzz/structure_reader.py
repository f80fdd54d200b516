"""Target: a structure set as received, through the door, the store, and the subtraction from a CT.

The lowest bits of an input's first byte choose the transfer syntax; the rest is the dataset.
"""

import shutil
import tempfile
from functools import cache
from pathlib import Path

from dicom_node.errors import InvalidInstance
from dicom_node.reception.encoded_dataset import read_header
from dicom_node.reception.part10 import file_preamble
from dicom_node.structures.structure_sets import StructureStore
from dicom_node.structures.subtraction import SubtractionRule, exclusion_of
from fuzz.series_reader import SYNTAXES, good_series
from inference.ct.series import read_ct_series
from inference.volumes import CtVolume

RULE = SubtractionRule((".*",), margin_mm=1.0)
"""Every structure is to be taken out."""


def one_input(data: bytes) -> None:
    """Accept or refuse a structure set and draw what it holds.

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
    path = _scratch() / "structures.dcm"
    path.write_bytes(file_preamble(header.sop_class_uid, header.sop_instance_uid, syntax) + encoded)
    StructureStore.under(_scratch()).add(path)
    shutil.rmtree(_scratch() / "structures", ignore_errors=True)
    exclusion_of([path], _ct(), RULE)


@cache
def _scratch() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzz-structures-"))


@cache
def _ct() -> CtVolume:
    return read_ct_series(good_series())
