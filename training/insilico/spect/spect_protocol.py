"""How a hospital takes a perfusion SPECT: dose, camera, views, reconstruction. Plain numbers, each with its source.

The numbers are those of published protocols where one was read. "Recalled" marks what is common knowledge of the field
without a page at hand, "assumption, ours" what is invented.
"""

import math
from dataclasses import dataclass
from enum import StrEnum


class SpectMethod(StrEnum):
    """How the image comes about."""

    PYTOMOGRAPHY = "pytomography"
    """Projections with attenuation and collimator blur, Poisson counts and OSEM by PyTomography."""
    FAST = "fast"
    """The shortcut: blur, Poisson counts, filter. `make bench-spect` measures how far it is from the other."""


@dataclass(frozen=True, slots=True)
class Collimator:
    """A parallel-hole collimator with the crystal behind it."""

    name: str
    hole_mm: float
    length_mm: float
    intrinsic_fwhm_mm: float = 3.8
    """Of crystal and electronics at 140 keV; recalled, for a 9.5 mm NaI crystal."""
    lead_attenuation_per_mm: float = 2.7
    """At 140 keV: 2.40 cm²/g (NIST XCOM, interpolated) at 11.35 g/cm³."""

    def fwhm_mm(self, distance_mm: float) -> float:
        """Width of a point's image at a distance from the collimator's face.

        The collimator's part is hole × (length + distance) / length with the length shortened by two mean free paths
        of septal penetration (Anger 1964), added in quadrature to the intrinsic part.
        """
        length = self.length_mm - 2.0 / self.lead_attenuation_per_mm
        return math.hypot(self.hole_mm * (length + distance_mm) / length, self.intrinsic_fwhm_mm)


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """How counts become an image."""

    iterations: int
    subsets: int
    resolution_modelled: bool
    """The collimator's blur is part of the model that OSEM inverts."""
    scatter_corrected: bool
    """The scatter that a second energy window sees is part of the model."""
    filter_fwhm_mm: float
    """Gaussian after the last iteration."""
    shortcut_fwhm_mm: float
    """What `SpectMethod.FAST` blurs with in all: as `make bench-spect` measures it on the other method."""
    shortcut_noise: float
    """How many times noisier, before the filter, the image is than if every count went to its voxel; likewise."""


@dataclass(frozen=True, slots=True)
class SpectProtocol:
    """One hospital's perfusion SPECT with Tc-99m macro-aggregated albumin (MAA), injected lying on the back."""

    name: str
    camera: str
    collimator: Collimator
    activity_mbq: float
    sensitivity_cps_per_mbq: float
    """Counts per second and MBq in air, each head."""
    views: int
    """Over 360 degrees, all heads together."""
    seconds_per_view: float
    matrix: int
    """Pixels along each side of a view."""
    pixel_mm: float
    """Of the projections and of the cubic voxels."""
    orbit_gap_mm: float
    """From the skin to the collimator where they are closest."""
    orbit_follows_body: bool
    """Each view as close as the body allows; else one circle."""
    reconstruction: Reconstruction
    window_kev: tuple[float, float] = (126.5, 154.5)
    """140.5 keV with 10 % to each side."""
    scatter_to_primary: float = 0.3
    """Scattered by unscattered counts in the window: about 0.2 to 0.4 for the chest; assumption, ours."""
    scatter_fwhm_mm: float = 60.0
    """Width that scatter is spread over in a projection; assumption, ours."""
    shunt: float = 0.03
    """Share of the activity that passes the lungs or comes off the particles and lies evenly in the other tissue that
    is in the field; assumption, ours, after the few percent of a normal right-to-left shunt (recalled)."""
    misalignment_sd_mm: float = 2.0
    """Spread, along each axis, of the way between CT and SPECT; assumption, ours: a few mm in all."""
    first_slice_on_top: bool = False
    """Order in which the files hold the slices: both are found in hospitals."""

    def __post_init__(self) -> None:
        if self.views % self.reconstruction.subsets:
            raise ValueError(f"{self.views} views do not divide into {self.reconstruction.subsets} subsets")

    @property
    def scan_s(self) -> float:
        """How long the scan takes: both heads take views at the same time."""
        return self.views / 2 * self.seconds_per_view


INFINIA_LEHR = Collimator("LEHR", hole_mm=1.5, length_mm=35.0)
"""Dimensions of the collimator GI-LEHR in SIMIND's table, as PyTomography carries it: 7.0 mm at 10 cm."""
SYMBIA_LEHR = Collimator("LEHR", hole_mm=1.11, length_mm=24.05)
"""SY-LEHR there: 7.0 mm at 10 cm."""

CONVENTIONAL = SpectProtocol(
    name="conventional",
    camera="in-silico dual-head camera A",
    collimator=INFINIA_LEHR,
    activity_mbq=185.0,
    sensitivity_cps_per_mbq=72.0,
    views=72,
    seconds_per_view=15.0,
    matrix=128,
    pixel_mm=4.42,
    orbit_gap_mm=30.0,
    orbit_follows_body=False,
    reconstruction=Reconstruction(
        iterations=3,
        subsets=9,
        resolution_modelled=False,
        scatter_corrected=False,
        filter_fwhm_mm=9.0,
        shortcut_fwhm_mm=14.0,
        shortcut_noise=3.15,
    ),
)
"""An older camera with a high dose: circular orbit, OSEM with attenuation correction alone.

After EJHI 2022 (s41824-022-00154-1): Infinia, LEHR, 128×128, free breathing, 72 views of 15 s; 370 MBq there, half of
it here, which is usual elsewhere (recalled). FBP there, OSEM with 27 updates here (assumption, ours).
72 counts/s/MBq is 160 counts/min/µCi, the maker's figure as recalled. 4.42 mm is its pixel without zoom (recalled).
"""

RESOLUTION_RECOVERY = SpectProtocol(
    name="resolution-recovery",
    camera="in-silico dual-head camera B",
    collimator=SYMBIA_LEHR,
    activity_mbq=120.0,
    sensitivity_cps_per_mbq=91.0,
    views=60,
    seconds_per_view=12.0,
    matrix=128,
    pixel_mm=4.80,
    orbit_gap_mm=15.0,
    orbit_follows_body=True,
    reconstruction=Reconstruction(
        iterations=3,
        subsets=10,
        resolution_modelled=True,
        scatter_corrected=True,
        filter_fwhm_mm=8.0,
        shortcut_fwhm_mm=12.2,
        shortcut_noise=2.9,
    ),
    first_slice_on_top=True,
)
"""A newer camera with a low dose: orbit along the body, OSEM with the collimator and scatter in its model.

After the EANM protocol (recalled): 100 to 160 MBq, 120 to 128 views of 5 s, 2 iterations of 8 subsets. Here 60 views of
12 s, the same dose and time with half the work, and 3 iterations of 10 subsets, as OSEM comes to rest more slowly with
the collimator in its model. 91 counts/s/MBq is 202 counts/min/µCi, the maker's figure as recalled.
"""
