"""One instance on its way into the spool: as it came, and as it lies on disk."""

from dataclasses import dataclass
from pathlib import Path

from dicom_node.reception.encoded_dataset import InstanceHeader


@dataclass(frozen=True, slots=True)
class ReceivedBytes:
    """One C-STORE request as it came, nothing decoded."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    calling_ae_title: str
    association_id: str
    """Made by the receiver, unique for ever; letters and digits."""
    encoded_dataset: bytes


@dataclass(frozen=True, slots=True)
class ReceivedInstance:
    """An instance that is durably on disk."""

    header: InstanceHeader
    series_key: str
    path: Path
    is_new: bool
    """False if the same bytes were here already."""
