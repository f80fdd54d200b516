"""The pipeline without a network: a folder with a CT in, a folder with objects out."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydicom import dcmread
from pydicom.misc import is_dicom
from pydicom.uid import RTStructureSetStorage

from dicom_node.jobs.cases import CaseFolder
from dicom_node.jobs.stages import Stage
from dicom_node.objects.kinds import ObjectKind
from dicom_node.pipeline import STAGES
from dicom_node.settings.config import NodeSettings
from dicom_node.settings.orders import Order
from dicom_node.settings.profile_files import read_profile
from inference.errors import EmptySeries


def dicom_files(folder: Path) -> list[Path]:
    """The DICOM files under a folder, or the one file named."""
    paths = [folder] if folder.is_file() else sorted(path for path in folder.rglob("*") if path.is_file())
    return [path for path in paths if is_dicom(path)]


def with_order(settings: NodeSettings, kinds: Sequence[str], profile: str) -> NodeSettings:
    """The same settings with one order instead of those of the site's destinations.

    Args:
        settings: what the site says.
        kinds: kinds of objects, or `all`.
        profile: name or file of a profile.

    Raises:
        ValueError: there is no such kind or profile, or a kind refers to another one that is not ordered.
    """
    orderable = [kind for kind in ObjectKind if kind is not ObjectKind.REFUSAL_NOTICE]
    unknown = [kind for kind in kinds if kind not in (*orderable, "all")]
    if unknown:
        raise ValueError(f"unknown kind {unknown[0]!r}; known are {', '.join(orderable)}, all")
    chosen = orderable if "all" in kinds else [kind for kind in orderable if kind in kinds]
    order = Order(tuple(chosen), read_profile(profile, Path()))
    if order.problems():
        raise ValueError("; ".join(order.problems()))
    return replace(settings, orders={"offline": order})


def process_folder(ct_dir: Path, out: Path, settings: NodeSettings, progress: Callable[[str], None]) -> dict[str, Any]:
    """Run all stages but the delivery on the DICOM files of `ct_dir`: a CT and the structure sets drawn on it.

    Objects and `summary.png` go to `out`; they are byte for byte what the node would send.

    Returns:
        The facts of the result: lobar table, findings, models.

    Raises:
        InferenceError: the series is refused; the code says why.
        CheckFailed: an object has a fault; none is written.
    """
    files = dicom_files(ct_dir)
    if not files:
        raise EmptySeries
    with TemporaryDirectory(prefix="perfnode-") as scratch:
        case = CaseFolder(Path(scratch) / "cases" / "offline", tell=progress)
        case.received.mkdir(parents=True)
        case.structures.mkdir()
        for number, path in enumerate(files):
            folder = case.structures if _is_structure_set(path) else case.received
            (folder / f"{number:06d}.dcm").symlink_to(path.resolve())
        for stage in (Stage.READ, Stage.SEGMENT, Stage.PERFUSE, Stage.ENCODE, Stage.CHECK):
            STAGES[stage](case, settings)
        out.mkdir(parents=True, exist_ok=True)
        for made in (*case.object_paths(), case.summary):
            shutil.copy(made, out / made.name)
        facts: dict[str, Any] = json.loads(case.result.with_suffix(".json").read_text())
        return facts


def _is_structure_set(path: Path) -> bool:
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"])
        return str(header.get("SOPClassUID")) == RTStructureSetStorage
    except Exception:  # no stage has looked at it yet; the reader says what is wrong with it
        return False
