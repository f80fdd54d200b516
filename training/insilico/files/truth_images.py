"""The truth as files: NRRD images, and the arteries as a table.

There is one image for each quantity, which ITK, 3D Slicer, MITK and MATLAB read as they are.

NRRD and not NIfTI because it states positions in LPS, as DICOM does, and in double precision. Only the box of the
lungs is kept, of all that the grid of the body holds; its position stands in each file. Perfusion is rounded to 1/1024
of the mean of both lungs, far below any noise, which makes the files small. Disease masks may overlap, so each has a
file of its own.
"""

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from jaxtyping import Bool, Shaped

from inference.geometry import Box, Grid
from inference.images import to_array, to_grid, to_image
from training.insilico.arteries.artery_table import arteries_csv, read_arteries
from training.insilico.patient import Truth

PERFUSION_STEP = 1.0 / 1024.0
"""Perfusion is a multiple of this; 1 is the mean over both lungs."""
DISEASES = "diseases"
"""Folder of the disease masks, beside the other files of the truth."""
ARTERIES = "arteries.csv"
_MARGIN = 2
_DEFLATE = 4  # level 6 takes three times as long for 2 % smaller files (measured)


def write_truth(truth: Truth, folder: Path) -> None:
    """Write perfusion, lobes, vessels, territories and disease masks below an empty folder.

    Equal arguments give equal bytes. Territories are stored from 1, and 0 outside the lungs;
    vessels as percent of the voxel.

    Args:
        truth: on any grid without shear.
        folder: is made, with its parents.
    """
    box = _box(truth)
    grid = truth.grid.cropped(box)
    images: dict[str, Shaped[np.ndarray, "slices rows columns"]] = {
        "perfusion": (np.round(truth.perfusion[box] / PERFUSION_STEP) * PERFUSION_STEP).astype(np.float32),
        "lobes": truth.lobes[box],
        "vessels": np.round(truth.vessels[box] * 100.0).astype(np.uint8),
        "territories": (truth.territories[box] + 1).astype(np.uint16),
        **{f"{DISEASES}/{name}": mask[box].astype(np.uint8) for name, mask in sorted(truth.diseases.items())},
    }
    (folder / DISEASES).mkdir(parents=True)
    for name, array in images.items():
        sitk.WriteImage(to_image(np.ascontiguousarray(array), grid), str(folder / f"{name}.nrrd"), True, _DEFLATE)
    if truth.arteries is not None and truth.lumen is not None:
        (folder / ARTERIES).write_text(arteries_csv(truth.arteries, truth.lumen), encoding="ascii")


def read_truth(folder: Path, *, frame_of_reference_uid: str) -> Truth:
    """Read what `write_truth` wrote.

    Args:
        folder: with the files of one patient's truth.
        frame_of_reference_uid: stands in the patient's record; NRRD knows none.

    Raises:
        OSError: a file is missing or damaged.
    """
    perfusion = _image(folder / "perfusion.nrrd")
    arteries, lumen = read_arteries(folder / ARTERIES) if (folder / ARTERIES).exists() else (None, None)
    masks = sorted((folder / DISEASES).glob("*.nrrd"))
    return Truth(
        grid=to_grid(perfusion, frame_of_reference_uid=frame_of_reference_uid),
        lobes=to_array(_image(folder / "lobes.nrrd")),
        perfusion=to_array(perfusion),
        vessels=to_array(_image(folder / "vessels.nrrd")).astype(np.float32) / np.float32(100.0),
        territories=to_array(_image(folder / "territories.nrrd")).astype(np.int32) - 1,
        diseases={path.stem: to_array(_image(path)) > 0 for path in masks},
        arteries=arteries,
        lumen=lumen,
    )


def _image(path: Path) -> sitk.Image:
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError as fault:
        raise OSError(f"{path} cannot be read as an image") from fault


def _box(truth: Truth) -> Box:
    """What holds the lungs and all disease, with a margin; the whole grid if there is neither."""
    kept: Bool[np.ndarray, "slices rows columns"] = truth.lobes > 0
    for mask in truth.diseases.values():
        kept |= mask
    if not kept.any():
        return tuple(slice(0, n) for n in truth.grid.shape)  # type: ignore[return-value]
    sides = []
    for axis, length in enumerate(truth.grid.shape):
        others = tuple(k for k in range(3) if k != axis)
        there = np.flatnonzero(kept.any(axis=others))
        sides.append(slice(max(int(there[0]) - _MARGIN, 0), min(int(there[-1]) + 1 + _MARGIN, length)))
    return sides[0], sides[1], sides[2]


def truth_grid(truth: Truth) -> Grid:
    """The grid that `write_truth` keeps."""
    return truth.grid.cropped(_box(truth))
