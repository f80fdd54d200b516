"""A SPECT laid on a CT by the images alone, and figures of how well any link lies.

SPECT shows where blood goes, CT where tissue is: they are brought together by mutual information between the SPECT and
a picture of what the CT's lungs would look like in it, their density blurred as a camera blurs. Six numbers are sought;
breathing bends the lungs beside that, and no rigid movement undoes it. All limits are ours, checked on the digital
thorax only.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from jaxtyping import Bool, Float, Float32
from scipy import ndimage

from inference.geometry import Grid
from inference.images import Interpolation, resample_image, to_array, to_image
from inference.volumes import CtVolume
from training.nuclear_image import NuclearImage
from training.pairs.rigid import Rigid

WORKING_SPACING_MM = 4.0
"""About the voxels of a SPECT."""
BLUR_FWHM_MM = 14.0
"""Of the picture of the CT: a camera for body imaging at 15 cm, with its filter (ours)."""
MARGIN_MM = 30.0
"""How far outside of the lungs of the CT the images are compared."""
NEAR_MM = 12.0
"""Counts this near to the lungs count as inside: blur and breathing carry them there (ours)."""
_FWHM_PER_SIGMA = 2.354820045
_BINS = 32
_ROUNDS = ((4.0, 0.2), (1.0, 0.5))
"""First step in mm and share of voxels; a second round leaves the flat places where the first one stops."""
_SEED, _LAST_STEP_MM, _STEPS, _SHRINK, _FLAT = 7, 0.01, 100, 0.6, 1e-9
_HOT_SHARE = 0.25
_DENSEST = 0.5

Map = Float32[np.ndarray, "slices rows columns"]
Mask = Bool[np.ndarray, "slices rows columns"]


@dataclass(frozen=True, slots=True, eq=False)
class LungPicture:
    """What the CT says of the lungs, coarse and with patient axes as the CT has them."""

    density: Map
    """Of lung tissue, blurred as by a camera; 0 far from lungs."""
    lungs: Mask
    near: Mask
    """Lungs and what is within `NEAR_MM`."""
    compared: Mask
    """Lungs and what is within `MARGIN_MM`."""
    grid: Grid

    @property
    def centre_mm(self) -> Float[np.ndarray, " 3"]:
        """Middle of the lungs: what the movement turns about."""
        centre: np.ndarray = self.grid.to_patient_mm(np.argwhere(self.lungs).astype(np.float64)).mean(axis=0)
        return centre


def lung_picture(ct: CtVolume, lungs: Mask) -> LungPicture:
    """The picture that SPECTs are laid on.

    Args:
        ct: any CT of the chest.
        lungs: on the grid of the CT; not empty.
    """
    tissue = np.where(lungs, np.clip((ct.hu + np.float32(1000.0)) / np.float32(1000.0), 0.0, _DENSEST), 0.0)
    grid = ct.grid.with_spacing((WORKING_SPACING_MM,) * 3)
    density = _coarse(tissue.astype(np.float32), ct.grid, grid, sigma_mm=BLUR_FWHM_MM / _FWHM_PER_SIGMA)
    coarse = _coarse(lungs.astype(np.float32), ct.grid, grid, sigma_mm=0.5 * WORKING_SPACING_MM) >= 0.5
    away_mm = ndimage.distance_transform_edt(~coarse, sampling=grid.spacing_mm)
    return LungPicture(density, coarse, away_mm <= NEAR_MM, away_mm <= MARGIN_MM, grid)


def register(picture: LungPicture, spect: NuclearImage) -> Rigid:
    """The movement that lays a SPECT on a CT.

    Equal images give movements that are equal to some 1e-8, as ITK adds up in no fixed order. The search begins with
    middle on middle, so the images may be any way apart, but they must lie the same way up, as DICOM says they do,
    within some 20 degrees.

    Returns:
        From the frame of reference of the SPECT to that of the CT, whatever the two are named.
    """
    centre = picture.centre_mm
    movement = sitk.Euler3DTransform()
    movement.SetCenter([float(value) for value in centre])
    movement.SetTranslation([float(value) for value in -middle_on_middle(picture, spect).matrix[:3, 3]])
    fixed, moving = to_image(picture.density, picture.grid), to_image(_relative(spect), spect.grid)
    compared = to_image(picture.compared, picture.grid)
    for first_step_mm, share in _ROUNDS:
        _search(movement, fixed, moving, compared, first_step_mm=first_step_mm, share=share)
    turn = np.array(movement.GetMatrix()).reshape(3, 3)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, np.array(movement.GetTranslation()) + centre - turn @ centre
    return Rigid(matrix).inverse  # ITK's goes from the fixed image, the CT, to the moving one


def middle_on_middle(picture: LungPicture, spect: NuclearImage) -> Rigid:
    """The shift that lays the middle of what is hot in a SPECT on the middle of the lungs: where the search begins."""
    hot = spect.values > _HOT_SHARE * np.percentile(spect.values, 99.5)
    middle = spect.grid.to_patient_mm(np.argwhere(hot).astype(np.float64)).mean(axis=0)
    matrix = np.eye(4)
    matrix[:3, 3] = picture.centre_mm - middle
    return Rigid(matrix)


def _search(
    movement: sitk.Euler3DTransform,
    fixed: sitk.Image,
    moving: sitk.Image,
    compared: sitk.Image,
    *,
    first_step_mm: float,
    share: float,
) -> None:
    """Go on from `movement`, and leave the better one there."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetMetricFixedMask(compared)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(share, _SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(first_step_mm, _LAST_STEP_MM, _STEPS, _SHRINK, _FLAT)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(movement, inPlace=True)
    method.SetNumberOfThreads(1)  # the order of sums of several changes more
    method.Execute(fixed, moving)


def link_quality(picture: LungPicture, spect: NuclearImage, rigid: Rigid) -> Mapping[str, float]:
    """How well a SPECT lies on a CT.

    Returns:
        `counts_in_lungs`: share of the counts that lie within `NEAR_MM` of the lungs of the CT.
        `lungs_seen`: share of the lungs that lie inside the SPECT.
        `mutual_information`: of SPECT and the picture of the CT around the lungs, in nats; no limit is set on it.
    """
    moved = moved_onto(spect, rigid, picture.grid)
    inside = moved_onto(NuclearImage(np.ones_like(spect.values), spect.grid), rigid, picture.grid)
    # counts far from the CT count as outside, so the whole is that of the SPECT and not of the CT's box
    whole = float(spect.values.clip(min=0.0).sum(dtype=np.float64)) * spect.grid.voxel_volume_ml
    near = float(moved[picture.near].clip(min=0.0).sum(dtype=np.float64)) * picture.grid.voxel_volume_ml
    information = mutual_information(picture.density[picture.compared], moved[picture.compared])
    return {
        "counts_in_lungs": round(near / whole, 4) if whole > 0.0 else 0.0,
        "lungs_seen": round(float((inside[picture.lungs] > 0.5).mean()), 4),
        "mutual_information": round(information, 4),
    }


def moved_onto(spect: NuclearImage, rigid: Rigid, onto: Grid) -> Map:
    """A SPECT on a grid of the CT, 0 outside.

    Args:
        spect: as it was read.
        rigid: from its frame of reference to that of the CT.
        onto: the grid.
    """
    there = Grid(spect.grid.shape, rigid.matrix @ spect.grid.affine, onto.frame_of_reference_uid)
    image = resample_image(to_image(spect.values, there), there, onto, interpolation=Interpolation.LINEAR, outside=0.0)
    values: Map = to_array(image)
    return values


def _relative(spect: NuclearImage) -> Map:
    """In multiples of its 99.5th percentile: stored counts may have any scale."""
    top = float(np.percentile(spect.values, 99.5))
    return (spect.values / np.float32(top if top > 0 else 1.0)).astype(np.float32)


def _coarse(values: Map, fine: Grid, coarse: Grid, *, sigma_mm: float) -> Map:
    smooth = sitk.SmoothingRecursiveGaussian(to_image(values, fine), sigma_mm)
    answer: Map = to_array(resample_image(smooth, fine, coarse, interpolation=Interpolation.LINEAR, outside=0.0))
    return answer


def mutual_information(one: Float32[np.ndarray, " n"], other: Float32[np.ndarray, " n"]) -> float:
    """What one set of values says of the other, in nats."""
    joint = np.histogram2d(one, other, bins=_BINS)[0] / one.size
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / apart[there])).sum())
