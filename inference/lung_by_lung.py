"""Each lung alone, the left one mirrored onto the right: twice as many lungs to learn from, and one shape to learn.

Ren et al. 2021 (IJROBP 110:1508) took the lungs of 73 patients as 146 samples; whether they mirrored one could not be
read. Here it is part of the network, so training and node do the same without knowing of it: a batch of patients
becomes a batch of lungs, all channels but the CT number emptied of the other lung.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from inference.channels import Channel

_COLUMNS = -1
"""Columns run to the patient's left; turning them round mirrors the patient."""


@dataclass(frozen=True, slots=True)
class LungByLung:
    """Takes lungs apart and puts maps together."""

    channels: Sequence[str]
    """Names of the channels that patients come with, `lungs` and `left` among them."""

    @property
    def shown(self) -> tuple[str, ...]:
        """Names of the channels that lungs have: the same without `left`, in the same order."""
        return tuple(name for name in self.channels if name != Channel.LEFT)

    def split(
        self, patients: Float[Tensor, "batch channels slices rows columns"]
    ) -> Float[Tensor, "lungs shown slices rows columns"]:
        """All right lungs, then all left ones, mirrored."""
        left = self._of(patients, Channel.LEFT)
        right = (self._of(patients, Channel.LUNGS) - left).clamp(min=0.0)
        lungs = torch.cat([self._alone(patients, right), self._alone(patients, left).flip(_COLUMNS)])
        return lungs

    def joined(
        self,
        maps: Float[Tensor, "lungs 1 slices rows columns"],
        patients: Float[Tensor, "batch channels slices rows columns"],
    ) -> Float[Tensor, "batch 1 slices rows columns"]:
        """One map per patient; each voxel is taken from the lung that fills more of it."""
        right, mirrored = maps.chunk(2)
        is_left = self._of(patients, Channel.LEFT) > 0.5 * self._of(patients, Channel.LUNGS)
        return torch.where(is_left, mirrored.flip(_COLUMNS), right)

    def _of(self, patients: Tensor, name: Channel) -> Tensor:
        index = list(self.channels).index(name)
        return patients[:, index : index + 1]

    def _alone(self, patients: Tensor, share: Tensor) -> Tensor:
        """What is shown of the lung with this share of each voxel."""
        is_there = share > 0
        values = {name: self._of(patients, Channel(name)) for name in self.shown if name != Channel.LUNGS}
        kept = {name: each if name == Channel.HU else each * is_there for name, each in values.items()}
        return torch.cat([{**kept, Channel.LUNGS.value: share}[name] for name in self.shown], dim=1)
