"""What a dry run records: exactly what would be sent, to whom, in which presentation contexts. Nobody is called."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom.filereader import read_file_meta_info

from dicom_node.jobs.attempts import Result
from dicom_node.jobs.route_mode import DRY_RUN
from dicom_node.network.delivery import Destination, proposed_contexts
from dicom_node.network.web_peer import DicomwebPeer


def planned_delivery(paths: Sequence[Path], destination: Destination | DicomwebPeer) -> dict[str, Any]:
    """The output of an attempt that sends nothing, with what a live one would send now, in its order."""
    objects = [_object(path) for path in paths]
    total = sum(item["bytes"] for item in objects)
    would = f"{len(objects)} object(s), {total} bytes, would go to {destination.name}"
    return {
        "result": Result.DONE.value,
        "code": DRY_RUN,
        "message": f"Dry run: nothing was sent; {would}.",
        "would_send": {"to": _addressee(destination, paths), "objects": objects},
    }


def _object(path: Path) -> dict[str, Any]:
    meta = read_file_meta_info(path)
    return {
        "object": path.stem,
        "sop_class_uid": str(meta.MediaStorageSOPClassUID),
        "sop_instance_uid": str(meta.MediaStorageSOPInstanceUID),
        "transfer_syntax_uid": str(meta.TransferSyntaxUID),
        "bytes": path.stat().st_size,
    }


def _addressee(destination: Destination | DicomwebPeer, paths: Sequence[Path]) -> dict[str, Any]:
    if isinstance(destination, DicomwebPeer):
        return {"url": f"{destination.url}/studies"}
    contexts = proposed_contexts(paths)
    return {
        "calling_ae_title": destination.calling_ae_title,
        "called": str(destination.address),
        "tls": destination.tls is not None,
        "presentation_contexts": [
            {"abstract_syntax": sop_class, "transfer_syntax": syntax} for sop_class, syntax in contexts
        ],
    }
