"""Predictors of perfusion that know nearly nothing, to be beaten by everything that is called a result.

A blurred picture of the lungs' outline already correlates with a perfusion SPECT, because SPECT blurs the edge of the
lungs; gravity and density add to it. What a network finds is what it scores above these. In a toy simulation with
4 mm voxels and 15 mm resolution, shape alone reached a Spearman R of about 0.58 to 0.76 and shape with gravity 0.67
to 0.97, the more the less the perfusion varies otherwise.

Every predictor is a weighted sum of pictures that a CT shows (`Term`), each blurred as SPECT blurs. The weights are
published ones (`PUBLISHED_WEIGHTS`) or fitted to training patients (`fit`); a fit must not see the patients that it
is scored on.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy import ndimage

from inference.densitometric import GRAVITY_PER_CM, perfused_tissue
from inference.geometry import Grid
from inference.lung_box import lung_box
from inference.volumes import CtVolume
from training.voxel_means import voxel_means

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
_TRUNCATE_SIGMAS = 4.0

Picture = Float32[np.ndarray, "slices rows columns"]


class Term(IntEnum):
    """A picture that predictors add up; the value is its place among all."""

    LUNG = 0
    """Part of a voxel that is lung."""
    TISSUE = 1
    """Perfused tissue."""
    LUNG_HEIGHT = 2
    """Lung times height in cm: upwards in a supine patient, 0 at the mean of the lungs."""
    TISSUE_HEIGHT = 3
    """Tissue times height."""


class Predictor(StrEnum):
    """The trivial predictors."""

    SHAPE = "shape only"
    """The blurred outline of the lungs; nothing of their content."""
    SHAPE_GRAVITY = "shape + gravity"
    """More towards the back, as the patient lies supine."""
    DENSITY = "density"
    """Perfused tissue by CT number."""
    DENSITY_GRAVITY = "density × gravity"
    """Both, so that gravity counts twice in healthy lung, where density already rises towards the back."""


PUBLISHED_WEIGHTS: Mapping[Predictor, Mapping[Term, float]] = MappingProxyType(
    {
        Predictor.SHAPE: {Term.LUNG: 1.0},
        Predictor.SHAPE_GRAVITY: {Term.LUNG: 1.0, Term.LUNG_HEIGHT: -GRAVITY_PER_CM},
        Predictor.DENSITY: {Term.LUNG: 0.0, Term.TISSUE: 1.0},
        Predictor.DENSITY_GRAVITY: {
            Term.LUNG: 0.0,
            Term.TISSUE: 1.0,
            Term.LUNG_HEIGHT: 0.0,
            Term.TISSUE_HEIGHT: -GRAVITY_PER_CM,
        },
    }
)
"""Weights without any fit: perfusion falls by 2.6 % per cm of height, supine (PMC4294417). Terms of weight 0 are there
for `fit`: they let density matter less, or more, than in proportion."""


@dataclass(frozen=True, slots=True, eq=False)
class LungsOnSpect:
    """All that a trivial predictor is told: where lung is, and how much perfused tissue its CT numbers mean."""

    share: Picture
    """Part of each SPECT voxel that is lung, 0 to 1."""
    tissue: Picture
    """Perfused tissue per SPECT voxel, in multiples of its mean per volume of lung; 0 outside."""
    grid: Grid
    """Of the SPECT."""

    @property
    def mask(self) -> Bool[np.ndarray, "slices rows columns"]:
        """Voxels that are lung by half or more: where scores are taken."""
        inside: Bool[np.ndarray, "slices rows columns"] = self.share >= 0.5
        return inside


def lungs_on_spect(ct: CtVolume, lungs: Bool[np.ndarray, "slices rows columns"], grid: Grid) -> LungsOnSpect:
    """What a CT with its lung mask (on the CT's grid) shows at the voxels of a SPECT.

    CT numbers become perfused tissue before they are averaged, by the table of the densitometric baseline, in which a
    tumour or consolidation is not well perfused; so this predictor is stronger than one that is linear in HU.

    Args:
        ct: the CT.
        lungs: on the grid of `ct`.
        grid: of the SPECT.
    """
    box = lung_box(lungs, ct.grid)
    inside, fine = lungs[box], ct.grid.cropped(box)
    tissue = np.where(inside, perfused_tissue(ct.hu[box]), np.float32(0.0))
    mean = float(tissue[inside].mean(dtype=np.float64))
    return LungsOnSpect(voxel_means(inside, fine, grid), voxel_means(tissue, fine, grid) / np.float32(mean), grid)


def shape_only(lungs: LungsOnSpect, *, fwhm_mm: float) -> Picture:
    """The outline of the lungs at the resolution of the SPECT."""
    return predict(Predictor.SHAPE, lungs, fwhm_mm=fwhm_mm)


def shape_and_gravity(lungs: LungsOnSpect, *, fwhm_mm: float) -> Picture:
    """Outline times 1 - 2.6 % per cm of height, at the resolution of the SPECT."""
    return predict(Predictor.SHAPE_GRAVITY, lungs, fwhm_mm=fwhm_mm)


def density(lungs: LungsOnSpect, *, fwhm_mm: float) -> Picture:
    """Perfused tissue by CT number, at the resolution of the SPECT."""
    return predict(Predictor.DENSITY, lungs, fwhm_mm=fwhm_mm)


def density_and_gravity(lungs: LungsOnSpect, *, fwhm_mm: float) -> Picture:
    """Perfused tissue times 1 - 2.6 % per cm of height, at the resolution of the SPECT."""
    return predict(Predictor.DENSITY_GRAVITY, lungs, fwhm_mm=fwhm_mm)


def predict(
    predictor: Predictor, lungs: LungsOnSpect, *, fwhm_mm: float, weights: Mapping[Term, float] | None = None
) -> Picture:
    """The picture that a trivial predictor makes, in arbitrary units, also outside the lungs.

    Args:
        predictor: which one.
        lungs: what it is told.
        fwhm_mm: effective resolution of the SPECT, with breathing; full width at half maximum.
        weights: of its terms; those published if None.
    """
    mixture = weighted(sharp_terms(lungs), PUBLISHED_WEIGHTS[predictor] if weights is None else weights)
    return blurred(mixture, lungs.grid, fwhm_mm=fwhm_mm)


def sharp_terms(lungs: LungsOnSpect) -> Float32[np.ndarray, "terms slices rows columns"]:
    """All pictures that predictors add up, in the order of `Term`, before they are blurred."""
    height_cm = np.broadcast_to(-lungs.grid.coordinates_mm()[1] / 10.0, lungs.grid.shape).astype(np.float32)
    height_cm = height_cm - np.float32(np.average(height_cm, weights=lungs.share))
    return np.stack([lungs.share, lungs.tissue, lungs.share * height_cm, lungs.tissue * height_cm])


def weighted(terms: Float32[np.ndarray, "terms ..."], weights: Mapping[Term, float]) -> Float32[np.ndarray, "..."]:
    """The sum of terms (all of them, in the order of `Term`) by the weights of a predictor."""
    factors = np.array(list(weights.values()), dtype=np.float32)
    mixture: Float32[np.ndarray, "..."] = np.tensordot(factors, terms[list(weights)], axes=1)
    return mixture


def fit(
    predictor: Predictor,
    training: Iterable[tuple[Float[np.ndarray, "terms voxels"], Float[np.ndarray, " voxels"]]],
) -> dict[Term, float]:
    """Weights with the least squared error on training patients, each SPECT scaled to mean 1 in its lungs.

    All patients have the same say, however large their lungs are.

    Args:
        predictor: which one.
        training: of each patient, all blurred terms in the order of `Term`, and the SPECT, at the voxels of the lungs.

    Raises:
        ValueError: no patient was given.
    """
    used = list(PUBLISHED_WEIGHTS[predictor])
    normal, right = np.zeros((len(used), len(used))), np.zeros(len(used))
    patients = 0
    for columns, spect in training:
        chosen = columns[used].astype(np.float64)
        wanted = spect.astype(np.float64)
        normal += chosen @ chosen.T / wanted.size
        right += chosen @ wanted / (wanted.size * wanted.mean())
        patients += 1
    if not patients:
        raise ValueError("nothing to fit to: no training patient")
    weights, *_ = np.linalg.lstsq(normal, right, rcond=None)
    return {term: float(weight) for term, weight in zip(used, weights, strict=True)}


def blurred(values: Picture, grid: Grid, *, fwhm_mm: float) -> Picture:
    """A Gaussian blur as a gamma camera blurs: what crosses the lungs' edge is lost from them."""
    sigma = [fwhm_mm / FWHM_PER_SIGMA / spacing_mm for spacing_mm in grid.spacing_mm]
    soft: Picture = ndimage.gaussian_filter(values, sigma, mode="constant", truncate=_TRUNCATE_SIGMAS)
    return soft
