"""The pipeline without a network: a folder with a CT in, a folder with objects out."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydicom.misc import is_dicom

from dicom_node.cases import CaseFolder
from dicom_node.config import NodeSettings
from dicom_node.pipeline import STAGES
from inference.errors import EmptySeries


def dicom_files(folder: Path) -> list[Path]:
    """The DICOM files under a folder, or the one file named."""
    paths = [folder] if folder.is_file() else sorted(path for path in folder.rglob("*") if path.is_file())
    return [path for path in paths if is_dicom(path)]


def process_folder(ct_dir: Path, out: Path, settings: NodeSettings, progress: Callable[[str], None]) -> dict[str, Any]:
    """Run all stages but the delivery on the DICOM files of `ct_dir`.

    Objects and `summary.png` go to `out`; they are byte for byte what the node would send.

    Returns:
        The facts of the result: lobar table, findings, models.

    Raises:
        InferenceError: the series is refused; the code says why.
    """
    files = dicom_files(ct_dir)
    if not files:
        raise EmptySeries
    with TemporaryDirectory(prefix="perfnode-") as scratch:
        case = CaseFolder(Path(scratch), tell=progress)
        case.received.mkdir()
        for number, path in enumerate(files):
            (case.received / f"{number:06d}.dcm").symlink_to(path.resolve())
        for stage in STAGES.values():
            stage(case, settings)
        out.mkdir(parents=True, exist_ok=True)
        for made in (*case.object_paths(), case.summary):
            shutil.copy(made, out / made.name)
        facts: dict[str, Any] = json.loads(case.result.with_suffix(".json").read_text())
        return facts
