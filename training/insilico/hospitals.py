"""Two invented hospitals: their scanners, their protocols, and which patients come to them.

Ren et al. 2022 had patients of two hospitals; scanners, kernels, doses and slices are not known to us (not found in
what could be read). All that stands here is an assumption of ours, made so that a network meets another kind of image
in the other hospital:

================== ============================== ==============================
                   hospital-a                     hospital-b
================== ============================== ==============================
CT                 of the SPECT/CT, low dose      planning CT of radiotherapy
patients           most without cancer            most with lung cancer
exposure, mAs      20 to 120                      120 to 600
kernel             smooth, soft, standard or lung soft or standard
slices, mm         1 to 5, some overlapping       2 to 5, most 3
field of view, mm  350 to 500                     500 to 650
breath             slow, fast or held deep        fast, or mean of a 4DCT
couch              curved                         flat
SPECT              conventional                   resolution-recovery
================== ============================== ==============================

Noise is not chosen but follows from exposure, slice thickness and kernel, as photon statistics say.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from training.insilico.cohort_name import CohortName
from training.insilico.ct.ct_scanner import CtScanner
from training.insilico.ct.reconstruction_kernel import ReconstructionKernel
from training.insilico.draws import Draws
from training.insilico.spect.spect_protocol import CONVENTIONAL, RESOLUTION_RECOVERY, SpectProtocol

SMOOTH = ReconstructionKernel("SMOOTH", 1.9)
SOFT = ReconstructionKernel("SOFT", 1.4)
STANDARD = ReconstructionKernel("STANDARD", 1.2, 0.2)
LUNG = ReconstructionKernel("LUNG", 0.75, 1.0)
"""Half the contrast is left at 2.3, 3.2, 3.9 and 7.2 line pairs/cm, about as in the common families (recalled). Edges
are never sharper than the voxels of the body, 1.5 mm as a rule; noise keeps the kernel's own spectrum."""

_NOISE_HU, _NOISE_MAS, _NOISE_SLICE_MM = 12.0, 100.0, 5.0
"""Noise of a soft kernel in a water cylinder of 260 mm at 120 kV. From some 4.5 HU in 200 mm of water at 250 mAs and
5 mm (recalled, as of accreditation phantoms), by exp(mu x 60 mm / 2) and the root of the exposures. Checked on one
public chest CT of 5 mm and 150 mAs, 260 mm water-equivalent: 5 to 8 HU in its mediastinum, 6 for `SOFT` and 8 for
`STANDARD` by this rule and `ct_noise`."""


@dataclass(frozen=True, slots=True, eq=False)
class CtProtocol:
    """Settings of one scanner, as far as they differ from patient to patient; keys are drawn as often as they weigh."""

    manufacturer: str
    model: str
    protocol: str
    kernels: Mapping[ReconstructionKernel, float]
    slices_mm: Mapping[tuple[float, float], float]
    """Thickness and distance of slices."""
    fields_mm: Mapping[float, float]
    exposure_mas: tuple[float, float]
    kvp: float = 120.0
    current_modulation: float = 0.5
    free_breathing: bool = True
    seconds_per_slice: float = 0.7
    table_mm_per_s: float = 25.0
    flat_couch: bool = False
    round_field: bool = False

    def draw(self, draws: Draws) -> CtScanner:
        """The scanner as it is set for one patient."""
        kernel = draws.choice("kernel", self.kernels)
        thickness, spacing = draws.choice("slices", self.slices_mm)
        exposure = draws.between("exposure", *self.exposure_mas)
        return CtScanner(
            manufacturer=self.manufacturer,
            model=self.model,
            protocol=self.protocol,
            kernel=kernel,
            noise_hu=photon_noise_hu(kernel, thickness, exposure, self.kvp),
            slice_mm=thickness,
            spacing_mm=spacing,
            field_mm=draws.choice("field", self.fields_mm),
            kvp=self.kvp,
            exposure_mas=exposure,
            current_modulation=self.current_modulation,
            free_breathing=self.free_breathing,
            seconds_per_slice=self.seconds_per_slice,
            table_mm_per_s=self.table_mm_per_s,
            flat_couch=self.flat_couch,
            round_field=self.round_field,
        )


def photon_noise_hu(kernel: ReconstructionKernel, slice_mm: float, exposure_mas: float, kvp: float) -> float:
    """Noise in the middle of a water cylinder of 260 mm.

    Photons grow with exposure, slice thickness and about the square of the voltage (recalled).
    """
    photons = exposure_mas / _NOISE_MAS * slice_mm / _NOISE_SLICE_MM * (kvp / 120.0) ** 2
    return _NOISE_HU * kernel.noise_strength / SOFT.noise_strength / math.sqrt(photons)


@dataclass(frozen=True, slots=True, eq=False)
class Hospital:
    """Where a patient was examined."""

    name: str
    """Short name for tables and records."""
    institution: str
    """Institution Name (0008,0080)."""
    ct: Mapping[CtProtocol, float]
    """Protocols and how often each is used."""
    spect: SpectProtocol

    def draw_scanner(self, draws: Draws) -> CtScanner:
        """The CT scanner of one patient, with its settings."""
        return draws.choice("protocol", self.ct).draw(draws)


HOSPITAL_A = Hospital(
    name="hospital-a",
    institution="In-silico hospital A",
    ct={
        CtProtocol(
            manufacturer="In-silico CT works A",
            model="Hybrid 6",
            protocol="SPECT/CT low dose",
            kernels={SMOOTH: 0.5, SOFT: 0.5},
            slices_mm={(5.0, 5.0): 0.5, (5.0, 2.5): 0.2, (3.0, 3.0): 0.3},
            fields_mm={500.0: 1.0},
            exposure_mas=(20.0, 40.0),
            current_modulation=0.0,
            seconds_per_slice=1.6,
            table_mm_per_s=9.0,
            round_field=True,
        ): 0.54,
        CtProtocol(
            manufacturer="In-silico CT works A",
            model="Hybrid 16",
            protocol="SPECT/CT chest",
            kernels={SOFT: 0.5, LUNG: 0.5},
            slices_mm={(2.0, 2.0): 0.4, (2.5, 1.5): 0.2, (3.0, 3.0): 0.4},
            fields_mm={400.0: 0.3, 500.0: 0.7},
            exposure_mas=(30.0, 60.0),
            seconds_per_slice=0.8,
            table_mm_per_s=20.0,
        ): 0.38,
        CtProtocol(
            manufacturer="In-silico CT works B",
            model="Chest 64",
            protocol="Diagnostic chest",
            kernels={LUNG: 0.6, STANDARD: 0.4},
            slices_mm={(1.0, 1.0): 0.2, (1.5, 1.5): 0.4, (2.0, 1.5): 0.4},
            fields_mm={350.0: 0.5, 400.0: 0.5},
            exposure_mas=(60.0, 120.0),
            free_breathing=False,
            seconds_per_slice=0.4,
            table_mm_per_s=60.0,
        ): 0.08,
    },
    spect=CONVENTIONAL,
)
"""Nuclear medicine with hybrid devices."""

HOSPITAL_B = Hospital(
    name="hospital-b",
    institution="In-silico hospital B",
    ct={
        CtProtocol(
            manufacturer="In-silico CT works C",
            model="Wide bore 16",
            protocol="Planning chest, free breathing",
            kernels={SOFT: 0.6, STANDARD: 0.4},
            slices_mm={(3.0, 3.0): 0.7, (5.0, 5.0): 0.2, (2.0, 2.0): 0.1},
            fields_mm={500.0: 0.3, 600.0: 0.5, 650.0: 0.2},
            exposure_mas=(120.0, 250.0),
            seconds_per_slice=0.7,
            table_mm_per_s=27.0,
            flat_couch=True,
        ): 0.7,
        CtProtocol(
            manufacturer="In-silico CT works C",
            model="Wide bore 16",
            protocol="Planning chest, mean of 4DCT",
            kernels={SOFT: 1.0},
            slices_mm={(3.0, 3.0): 0.6, (2.5, 2.5): 0.4},
            fields_mm={500.0: 0.4, 600.0: 0.6},
            exposure_mas=(300.0, 600.0),
            seconds_per_slice=20.0,
            table_mm_per_s=2.0,
            flat_couch=True,
        ): 0.3,
    },
    spect=RESOLUTION_RECOVERY,
)
"""Radiotherapy with a planning CT."""

HOSPITALS = (HOSPITAL_A, HOSPITAL_B)
PATIENTS_OF = {
    CohortName.NON_CANCER: {HOSPITAL_A: 0.85, HOSPITAL_B: 0.15},
    CohortName.LUNG_CANCER: {HOSPITAL_A: 0.25, HOSPITAL_B: 0.75},
}
"""How often patients of a cohort come to each hospital."""


def draw_hospital(cohort: CohortName, draws: Draws) -> Hospital:
    """The hospital of one patient."""
    return draws.choice("hospital", PATIENTS_OF[cohort])
