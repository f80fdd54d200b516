"""The weights of others that this node knows by name: where they were published, and what says that a file is they.

A file is compared with the first digits of SHA-256 that its publisher put into its name. Eight digits tell a damaged, a
cut or another file from the right one. They do not stop somebody who makes a wrong file on purpose: for that, compare
the whole SHA-256, which an import prints, with that of a copy you trust.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from inference.errors import UnknownModel


@dataclass(frozen=True, slots=True)
class PublishedWeights:
    """Weights that somebody published, by the name under which this node keeps them."""

    name: str
    what: str
    """What they are for, in a few words."""
    url: str
    """Where the publisher put them."""
    kind: Literal["lungmask", "nnunet"]
    """How a file of them is read: a state dict of lungmask's U-Net, or a trained model of nnU-Net."""
    classes: int
    """Output channels of the network."""
    licence: str
    citation: str
    sha256_start: str = ""
    """First digits of SHA-256 as the published file name carries them; empty where the publisher gives none."""
    labels: tuple[str, ...] = ()
    """Classes that nnU-Net's `dataset.json` must name."""

    @property
    def file_name(self) -> str:
        """Name of the published file."""
        return self.url.rsplit("/", 1)[-1]

    def by_hand(self) -> str:
        """What to do on a machine without internet, in two sentences."""
        return (
            f"Fetch {self.file_name} on a machine with internet, from {self.url}. "
            f"Then: perfnode models import {self.name} {self.file_name}."
        )


_LUNGMASK = "Hofmanninger et al., Eur Radiol Exp 2020;4:50, doi:10.1186/s41747-020-00173-2"
_TOTALSEGMENTATOR = "Wasserthal et al., Radiol Artif Intell 2023;5(5):e230024, doi:10.1148/ryai.230024"
_LUNGMASK_FILES = "https://github.com/JoHof/lungmask/releases/download/v0.0"
_TOTALSEGMENTATOR_FILES = "https://github.com/wasserth/TotalSegmentator/releases/download/v2.0.0-weights"

LUNGMASK_R231 = PublishedWeights(
    name="lungmask-r231",
    what="lungs, for lungmask",
    url=f"{_LUNGMASK_FILES}/unet_r231-d5d2fc3d.pth",
    kind="lungmask",
    classes=3,
    licence="Apache-2.0",
    citation=_LUNGMASK,
    sha256_start="d5d2fc3d",
)
LUNGMASK_LTRCLOBES = PublishedWeights(
    name="lungmask-ltrclobes",
    what="lobes, for lungmask",
    url=f"{_LUNGMASK_FILES}/unet_ltrclobes-3a07043d.pth",
    kind="lungmask",
    classes=6,
    licence="Apache-2.0",
    citation=_LUNGMASK,
    sha256_start="3a07043d",
)
TOTALSEGMENTATOR_LOBES = PublishedWeights(
    name="totalsegmentator-lobes",
    what="lobes, for totalsegmentator",
    url=f"{_TOTALSEGMENTATOR_FILES}/Dataset291_TotalSegmentator_part1_organs_1559subj.zip",
    kind="nnunet",
    classes=25,
    licence="Apache-2.0",
    citation=_TOTALSEGMENTATOR,
    labels=(
        "lung_upper_lobe_left",
        "lung_lower_lobe_left",
        "lung_upper_lobe_right",
        "lung_middle_lobe_right",
        "lung_lower_lobe_right",
    ),
)

PUBLISHED: Mapping[str, PublishedWeights] = {
    weights.name: weights for weights in (LUNGMASK_R231, LUNGMASK_LTRCLOBES, TOTALSEGMENTATOR_LOBES)
}


def published(name: str, known: Mapping[str, PublishedWeights] = PUBLISHED) -> PublishedWeights:
    """The weights of that name.

    Raises:
        UnknownModel: there are none.
    """
    try:
        return known[name]
    except KeyError:
        raise UnknownModel(name, tuple(known)) from None
