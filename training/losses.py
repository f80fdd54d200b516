"""How wrong a predicted map is, inside the lungs only, as one number per patient.

Three things are asked of a map and each has its term:

* its values should be those of the SPECT: a Huber loss, which is quadratic for small errors and linear for the few
  large ones at hot spots;
* its pattern should be that of the SPECT: 1 minus Pearson's R, which no shift or scale of the map changes;
* within the inner lungs its order should be that of the SPECT: 1 minus Pearson's R of ranks, as studies report rank
  correlations, and away from the surface because the blurred edge of the lungs, which every map has, otherwise makes up
  most of every loss. Ranks have no gradient, so those of the prediction are replaced by what they would be if its
  values were normally distributed.

Terms and weights are ours; Ren et al. 2022 (10.3389/fonc.2022.883516) does not tell its loss where it could be read.

Maps are relative: before they are compared, the prediction is divided by its own mean over the lungs, as
`inference.perfusion` does with every map that leaves a network. A patient counts the same whatever the size of the
lungs. All sums are taken in float32, whatever precision the network runs in.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

Maps = Float[Tensor, "batch 1 slices rows columns"]
Lungs = Bool[Tensor, "batch 1 slices rows columns"]

SMALLEST_MEAN = 1e-6
"""Below this a prediction counts as 0 everywhere: its mean is not divided by anything smaller."""
SMALLEST_VARIANCE = 1e-8
"""Added to variances, so that a constant map has a correlation (0) and a gradient."""


class Loss(Protocol):
    """What the loop minimises."""

    def __call__(self, predicted: Maps, wanted: Maps, lungs: Lungs) -> Float[Tensor, " batch"]:
        """One value per patient, 0 for a perfect map.

        Args:
            predicted: unscaled, above 0.
            wanted: the SPECT over its mean in the lungs; what lies outside `lungs` is not looked at.
            lungs: where the maps are compared; every patient has a voxel.
        """


@dataclass(frozen=True, slots=True)
class LungLoss:
    """The loss of the study: Huber, Pearson and ranks, each in its part of the lungs."""

    huber_delta: float = 0.5
    """Error at which quadratic becomes linear, in multiples of the lung mean."""
    pearson_weight: float = 1.0
    """Weight of 1 - Pearson; the Huber term has weight 1 / `huber_delta`, so that large errors count as they are."""
    rank_weight: float = 1.0
    """Weight of 1 - Pearson of ranks in the inner lungs."""
    inner_margin_voxels: int = 3
    """How far the inner lungs lie within the lungs, along each axis: about the resolution of the SPECT."""

    def __call__(self, predicted: Maps, wanted: Maps, lungs: Lungs) -> Float[Tensor, " batch"]:
        """One value per patient, see `Loss`."""
        weights = lungs.float()
        relative = relative_to_lungs(predicted.float(), weights)
        loss = huber(relative, wanted.float(), weights, delta=self.huber_delta) / self.huber_delta
        if self.pearson_weight > 0.0:
            loss = loss + self.pearson_weight * (1.0 - pearson(relative, wanted.float(), weights))
        if self.rank_weight > 0.0:
            inner = inner_lungs(weights, self.inner_margin_voxels)
            loss = loss + self.rank_weight * (1.0 - rank_correlation(relative, wanted.float(), inner))
        return loss


def relative_to_lungs(maps: Maps, weights: Maps) -> Maps:
    """Each map over its own weighted mean, so that its lungs have mean 1."""
    return maps / _mean(maps, weights)[:, None, None, None, None].clamp_min(SMALLEST_MEAN)


def huber(predicted: Maps, wanted: Maps, weights: Maps, *, delta: float) -> Float[Tensor, " batch"]:
    """Mean Huber loss per patient: half the square up to `delta`, from there on linear."""
    return _mean(nn.functional.huber_loss(predicted, wanted, reduction="none", delta=delta), weights)


def pearson(predicted: Maps, wanted: Maps, weights: Maps) -> Float[Tensor, " batch"]:
    """Linear correlation per patient, -1 to 1; 0 where a map is constant."""
    one = predicted - _mean(predicted, weights)[:, None, None, None, None]
    other = wanted - _mean(wanted, weights)[:, None, None, None, None]
    both = _mean(one * other, weights)
    return both / torch.sqrt(
        (_mean(one * one, weights) + SMALLEST_VARIANCE) * (_mean(other * other, weights) + SMALLEST_VARIANCE)
    )


def inner_lungs(weights: Maps, margin_voxels: int) -> Maps:
    """1 where a cube of the margin on every side is all lung; 0 elsewhere. Beyond the window counts as lung."""
    outside = 1.0 - weights
    for axis in range(3):
        width, room = [1, 1, 1], [0, 0, 0]
        width[axis], room[axis] = 2 * margin_voxels + 1, margin_voxels
        outside = nn.functional.max_pool3d(outside, width, stride=1, padding=room)
    return 1.0 - outside


def rank_correlation(predicted: Maps, wanted: Maps, weights: Maps) -> Float[Tensor, " batch"]:
    """Pearson's R of the ranks of `wanted` with the normal distribution function of `predicted`; 0 without voxels.

    Args:
        predicted: of any scale; has a gradient.
        wanted: its ties are ranked in the order of memory.
        weights: 0 or 1.
    """
    apart = predicted - _mean(predicted, weights)[:, None, None, None, None]
    spread = torch.sqrt(_mean(apart * apart, weights) + SMALLEST_VARIANCE)[:, None, None, None, None]
    return pearson(torch.special.ndtr(apart / spread), _ranks(wanted, weights), weights)


def _ranks(wanted: Maps, weights: Maps) -> Maps:
    """Rank of each voxel among those of weight 1 of its patient, 0 to 1; what has weight 0 comes after all of them."""
    values = torch.where(weights > 0.0, wanted, torch.inf).flatten(1)
    order = values.argsort(dim=1)
    ranks = torch.empty_like(values)
    ranks.scatter_(1, order, torch.arange(values.shape[1], device=values.device, dtype=values.dtype).expand_as(values))
    return (ranks / weights.flatten(1).sum(1, keepdim=True).clamp_min(1.0)).view_as(wanted)


def _mean(maps: Maps, weights: Maps) -> Float[Tensor, " batch"]:
    return (maps * weights).flatten(1).sum(1) / weights.flatten(1).sum(1).clamp_min(1.0)
