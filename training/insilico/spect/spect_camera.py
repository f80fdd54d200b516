"""A rotating gamma camera and the reconstruction of its views, by PyTomography.

PyTomography (MIT) rotates the object, projects it and iterates. Two of its transforms are replaced by ones that give
the same in less time: attenuation, which is turned once per view and kept, and the collimator's blur, as products of
matrices. Everything runs on one thread of the CPU, so that equal input gives equal bytes.

Importing this module imports PyTomography, which not every installation has (`make pytomography`).
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Float32
from scipy import ndimage

from training.insilico.draws import Draws
from training.insilico.spect.spect_protocol import Collimator, SpectProtocol
from training.insilico.spect.spect_source import SpectSource

with warnings.catch_warnings():  # PyTomography silences all warnings of the process when it is imported
    import pytomography
    from pytomography.algorithms import OSEM
    from pytomography.likelihoods import PoissonLogLikelihood
    from pytomography.metadata.SPECT import SPECTObjectMeta, SPECTProjMeta
    from pytomography.projectors.SPECT import SPECTSystemMatrix
    from pytomography.transforms import Transform
    from pytomography.transforms.SPECT.attenuation import get_prob_of_detection_matrix
    from pytomography.utils import rotate_detector_z

FWHM_PER_SD = float(np.sqrt(8.0 * np.log(2.0)))
ORBIT_STEP_MM = 10.0
"""Distances of the collimator are rounded up to these: each needs matrices of its own."""
REACH_SD = 4.0
NARROWEST_VOXELS = 0.2
"""Standard deviation below which a blur is none."""

Image = Float32[np.ndarray, "slices rows columns"]
Views = Float[np.ndarray, "views columns slices"]


@dataclass(frozen=True, slots=True, eq=False)
class Registered:
    """What the camera registered in one scan."""

    counts: Views
    scatter: Views
    """How many of them were expected to be scattered: what an ideal second energy window would tell."""


class KeptAttenuation(Transform):  # type: ignore[misc]
    """Share of the photons that reach the camera; PyTomography's `SPECTAttenuationTransform`, calculated once.

    The map may be wider than what is projected: it is turned and summed up as a whole, then cut.
    """

    def __init__(self, wide_per_cm: torch.Tensor) -> None:
        super().__init__()
        self._wide_per_cm = wide_per_cm
        self._kept: dict[int, torch.Tensor] = {}

    def forward(self, x: torch.Tensor, view: torch.Tensor) -> torch.Tensor:
        """The object as one view, a number in a tensor, sees it: attenuated."""
        if int(view) not in self._kept:
            self._kept[int(view)] = self._share(x.shape[0], self.proj_meta.angles[view])
        return x * self._kept[int(view)]

    def backward(self, x: torch.Tensor, view: torch.Tensor) -> torch.Tensor:
        """The transpose, which is the same."""
        return self.forward(x, view)

    def _share(self, width: int, angle: torch.Tensor) -> torch.Tensor:
        """For the middle `width` × `width` columns, turned towards the camera, which stands at the end of axis 0."""
        missing = max(width - self._wide_per_cm.shape[0], 0)
        sides = [missing // 2, missing - missing // 2]
        turned = rotate_detector_z(torch.nn.functional.pad(self._wide_per_cm, [0, 0, *sides, *sides]), angle)
        start = (turned.shape[0] - width) // 2
        rays = turned[start:, start : start + width]
        share: torch.Tensor = get_prob_of_detection_matrix(rays, self.object_meta.dx)[:width].contiguous()
        return share


class CollimatorBlur(Transform):  # type: ignore[misc]
    """Blur that grows with the distance from the collimator; PyTomography's `SPECTPSFTransform` as matrix products."""

    def __init__(self, collimator: Collimator) -> None:
        super().__init__()
        self._collimator = collimator
        self._kept: dict[float, tuple[torch.Tensor, torch.Tensor]] = {}

    def forward(self, x: torch.Tensor, view: torch.Tensor) -> torch.Tensor:
        """Each plane parallel to the camera, blurred as its distance wants."""
        across, along = self._matrices(float(self.proj_meta.radii[int(view)]))
        return torch.bmm(torch.bmm(across, x), along)

    def backward(self, x: torch.Tensor, view: torch.Tensor) -> torch.Tensor:
        """The transpose."""
        across, along = self._matrices(float(self.proj_meta.radii[int(view)]))
        return torch.bmm(torch.bmm(across.transpose(1, 2), x), along.transpose(1, 2))

    def _matrices(self, radius_cm: float) -> tuple[torch.Tensor, torch.Tensor]:
        """For each plane the matrices that blur its columns (across the patient) and its rows (along the patient)."""
        if radius_cm not in self._kept:
            planes, _, slices = self.object_meta.padded_shape
            towards_camera = (np.arange(planes) - 0.5 * (planes - 1)) * self.object_meta.dx
            distances_mm = np.maximum(10.0 * (radius_cm - towards_camera), 0.0)
            sd = np.array([self._collimator.fwhm_mm(d) for d in distances_mm]) / FWHM_PER_SD / 10.0
            sizes = ((planes, self.object_meta.dx), (slices, self.object_meta.dz))
            across, along = (torch.from_numpy(_gaussians(sd / step, count)) for count, step in sizes)
            self._kept[radius_cm] = across, along
        return self._kept[radius_cm]


def _gaussians(sd: Float[np.ndarray, " planes"], count: int) -> Float32[np.ndarray, "planes to from"]:
    """For each standard deviation (in voxels) the matrix that blurs `count` voxels; what is spread outside is lost."""
    distance = np.arange(count)[:, np.newaxis] - np.arange(count)
    reach = np.arange(-count, count + 1)
    width = np.maximum(sd, NARROWEST_VOXELS)[:, np.newaxis, np.newaxis]
    whole = _bell(reach / width).sum(axis=2, keepdims=True)
    matrices: np.ndarray = (_bell(distance / width) / whole).astype(np.float32)
    return matrices


def _bell(deviations: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """A Gaussian without its far ends, whose denormal numbers would slow all down."""
    bell: np.ndarray = np.where(np.abs(deviations) < REACH_SD, np.exp(-0.5 * np.square(deviations)), 0.0)
    return bell


@dataclass(frozen=True)
class SpectCamera:
    """One protocol's camera round one patient."""

    source: SpectSource
    protocol: SpectProtocol

    def registered(self, draws: Draws) -> Registered:
        """Take all views: primary photons with attenuation and blur, scatter, Poisson noise."""
        with _one_thread():
            blur = CollimatorBlur(self.protocol.collimator)
            attenuation = KeptAttenuation(_per_cm(self.source.attenuation_per_mm))
            views = self._system([attenuation, blur]).forward(_tensor(self.source.activity_mbq))
        primary = views.numpy().astype(np.float64) * self.counts_per_mbq
        width = self.protocol.scatter_fwhm_mm / self.protocol.pixel_mm / FWHM_PER_SD
        blurred = np.stack([ndimage.gaussian_filter(view, width, mode="constant", truncate=3.0) for view in primary])
        scatter = self.protocol.scatter_to_primary * blurred
        counts = draws.generator("counts").poisson(np.maximum(primary + scatter, 0.0)).astype(np.float64)
        return Registered(counts, scatter)

    def reconstructed(self, registered: Registered) -> Image:
        """OSEM with attenuation correction from the CT, then the protocol's filter; counts per voxel."""
        settings = self.protocol.reconstruction
        with _one_thread():
            transforms: list[Transform] = [KeptAttenuation(_per_cm(self.source.ct_attenuation_per_mm))]
            if settings.resolution_modelled:
                transforms.append(CollimatorBlur(self.protocol.collimator))
            counts, scatter = (torch.from_numpy(v.astype(np.float32)) for v in (registered.counts, registered.scatter))
            likelihood = PoissonLogLikelihood(
                self._system(transforms), counts, additive_term=scatter if settings.scatter_corrected else None
            )
            image = OSEM(likelihood)(n_iters=settings.iterations, n_subsets=settings.subsets)
        width = settings.filter_fwhm_mm / self.protocol.pixel_mm / FWHM_PER_SD
        values = np.ascontiguousarray(image.numpy().transpose(2, 1, 0))
        filtered: np.ndarray = ndimage.gaussian_filter(values, width, mode="constant", truncate=3.0)
        return filtered.clip(min=0.0)

    @property
    def counts_per_mbq(self) -> float:
        """Counts that 1 MBq gives in one view where nothing attenuates."""
        return self.protocol.sensitivity_cps_per_mbq * self.protocol.seconds_per_view

    @cached_property
    def radii_mm(self) -> Float[np.ndarray, " views"]:
        """From the axis to the collimator, each view."""
        # PyTomography's camera of angle a stands at 270 - a degrees, counted from the patient's left.
        place = np.deg2rad(270.0 - self._angles)
        depth, width = self.source.half_depth_mm, self.source.half_width_mm
        # The outline of the patient is taken for an ellipse: how far it reaches towards the camera.
        reach = np.hypot(width * np.cos(place), depth * np.sin(place))
        radius = reach if self.protocol.orbit_follows_body else np.full_like(reach, reach.max())
        rounded: np.ndarray = np.ceil((radius + self.protocol.orbit_gap_mm) / ORBIT_STEP_MM) * ORBIT_STEP_MM
        return rounded

    @property
    def _angles(self) -> Float[np.ndarray, " views"]:
        """Degrees, as PyTomography counts them."""
        angles: np.ndarray = np.arange(self.protocol.views) * 360.0 / self.protocol.views
        return angles

    def _system(self, transforms: list[Transform]) -> SPECTSystemMatrix:
        """PyTomography's model of this camera. Its axes are ours in the order column, row, slice; lengths are in cm."""
        slices, rows, columns = self.source.field.grid.shape
        step = self.protocol.pixel_mm / 10.0
        views = SPECTProjMeta((columns, slices), [step, step], self._angles, self.radii_mm / 10.0)
        return SPECTSystemMatrix(transforms, [], SPECTObjectMeta([step] * 3, (columns, rows, slices)), views)


def _tensor(image: Image) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 1, 0)))


def _per_cm(per_mm: Image) -> torch.Tensor:
    return 10.0 * _tensor(per_mm)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums are added in one order, whatever machine: on the CPU, one thread."""
    threads, device = torch.get_num_threads(), pytomography.device
    torch.set_num_threads(1)
    pytomography.set_device(torch.device("cpu"))
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_num_threads(threads)
        pytomography.set_device(device)
