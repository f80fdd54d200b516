"""What a network may be shown of a CT, by name. `subvoxel_channels` computes them; model card and recipe name them.

The grid of a perfusion network is coarse, because the SPECT it learns from is (12 to 18 mm FWHM). A voxel of a planning
CT is a hundred times smaller, and what it shows (vessels, emphysema, ground glass) is lost in a plain mean. These
channels keep some of it as statistics within each coarse voxel. Which ones help is a question for the study; names,
scales and levels are ours, except where a source is given.

Names are written into model cards: a name never changes its meaning, a new meaning gets a new name.
"""

from enum import StrEnum


class Channel(StrEnum):
    """One channel; all are dimensionless and near 0 … 1, and all but `HU` are 0 where there is no lung."""

    HU = "hu"
    """Mean CT number in the card's window, as 0 … 1; lung and its surroundings alike."""
    LUNGS = "lungs"
    """Share of the voxel that is lung."""
    LEFT = "left"
    """Share of the voxel that is left lung; tells lung-wise networks the lungs apart and is not shown to their body."""
    LUNG_HU = "lung-hu"
    """Mean CT number of the lung in the voxel, in the card's window; what is not lung does not count."""
    PARENCHYMA = "parenchyma"
    """CT number of the lung between its vessels, 0 at -1000 HU and 1 at `PARENCHYMA_TOP_HU`: the darkest ninth of the
    lung of the voxel. Lung with less blood is darker (mosaic attenuation), which vessels hide from the mean."""
    SPREAD = "spread"
    """Standard deviation of the CT number within the lung of the voxel, over `SPREAD_SCALE_HU`."""
    BELOW_950 = "below-950"
    """Share of the voxel that is lung below -950 HU: emphysema (LAA-950 on inspiratory CT)."""
    BELOW_910 = "below-910"
    """Share of the voxel that is lung below -910 HU: milder emphysema, and expiratory air trapping."""
    ABOVE_500 = "above-500"
    """Share of the voxel that is lung above -500 HU: vessels, ground glass, all that is dense."""
    HEIGHT = "height"
    """Height above the lowest lung of the patient lying supine, over `HEIGHT_SCALE_MM`: gravity."""
    DEPTH = "depth"
    """Distance to the nearest voxel that is mostly not lung, over `DEPTH_SCALE_MM`; at most 1."""


DEFAULT_CHANNELS: tuple[str, ...] = (Channel.HU.value, Channel.LUNGS.value)
"""Those of a card that names none: what all cards had before there were more."""
SUBVOXEL_CHANNELS: tuple[str, ...] = tuple(channel.value for channel in Channel if channel is not Channel.LEFT)
"""All that can be shown to a network of both lungs, in the order of this file."""
SPREAD_SCALE_HU = 250.0
"""Near the largest spread of a lung voxel, where half of it is a vessel."""
PARENCHYMA_TOP_HU = -600.0
"""Denser lung is not aerated lung between vessels; the narrow window makes a few HU count."""
HEIGHT_SCALE_MM = 250.0
"""Height of large lungs, front to back."""
DEPTH_SCALE_MM = 50.0
"""About the largest depth inside a lung; deeper counts as this."""
