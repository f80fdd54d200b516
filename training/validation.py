"""The look at the validation patients that chooses the step that is kept.

It takes what is reported: the mean over patients of Spearman's R with the SPECT on the eroded lungs, where the blurred
edge of the lungs helps nobody. The loss is shown beside it and chooses nothing: it weighs the edge, and it goes on
falling where a network learns the noise of few patients. R of a handful of patients is noisy too, hence weights are
averaged over steps before they are looked at, and looks are few.

A look is cheap: patients lie in the memory of the device and are shown once each, whole; ranks are taken there; one
number comes back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import stats
from torch import Tensor, nn

from training.case_batches import CaseBatches
from training.losses import Loss
from training.study_case import StudyCase

_AT_A_TIME = 4
"""Patients; a GPU is faster with several, and memory is that of a training step at most."""


@dataclass(frozen=True, slots=True)
class ValidationScore:
    """Means over the validation patients."""

    spearman: float
    """R on the eroded lungs, without regard for ties in the prediction; of the SPECT ties have their mean rank."""
    loss: float


class Validation(Protocol):
    """What the loop asks for a score."""

    def score(self, network: nn.Module, loss: Loss, *, bfloat16: bool) -> ValidationScore:
        """The score of a network in evaluation mode.

        Args:
            network: on the device of the patients.
            loss: of the training.
            bfloat16: whether convolutions are in that precision.
        """


class CaseValidation:
    """Whole validation patients on a device."""

    def __init__(
        self,
        cases: Sequence[StudyCase],
        device: torch.device | str,
        window: tuple[int, int, int],
        *,
        channel_names: Sequence[str] | None = None,
    ) -> None:
        """Take patients to a device.

        Args:
            cases: one or more.
            device: of the network.
            window: smallest frame that they are shown in, as in training.
            channel_names: as in training.
        """
        self._device = torch.device(device)
        self._batches = CaseBatches(cases, device, window, channel_names=channel_names)
        self._ranks = [_Ranks.of(case, self._batches.whole(index).lungs) for index, case in enumerate(cases)]

    def score(self, network: nn.Module, loss: Loss, *, bfloat16: bool) -> ValidationScore:
        """See `Validation`."""
        scores = []
        with torch.inference_mode():
            for first in range(0, len(self._ranks), _AT_A_TIME):
                ranks = self._ranks[first : first + _AT_A_TIME]
                shown = [self._batches.whole(first + index) for index in range(len(ranks))]
                with torch.autocast(self._device.type, torch.bfloat16, enabled=bfloat16):
                    predicted = network(torch.cat([batch.channels for batch in shown])).float()
                targets, lungs = (torch.cat([getattr(batch, name) for batch in shown]) for name in ("target", "lungs"))
                found = torch.stack([one.spearman(values) for one, values in zip(ranks, predicted, strict=True)])
                scores.append(torch.stack([found, loss(predicted, targets, lungs)], dim=1))
            spearman, lost = torch.cat(scores).double().mean(0).tolist()
        return ValidationScore(spearman, lost)


@dataclass(frozen=True, slots=True, eq=False)
class _Ranks:
    """The SPECT of one patient by rank."""

    where: Int[Tensor, " eroded"]
    """Places of the eroded lungs in the flattened frame."""
    ranks: Float[Tensor, " eroded"]
    """Of the SPECT there, with mean 0 and length 1."""

    @classmethod
    def of(cls, case: StudyCase, lungs: Tensor) -> "_Ranks":
        """The ranks of a case; a case without eroded voxels is ranked on its whole lungs.

        Args:
            case: the patient.
            lungs: its lungs in the frame; their voxels come in the same order as in the case.
        """
        chosen = case.eroded if case.eroded.any() else case.lungs
        places = lungs.flatten().nonzero().flatten().cpu()
        ranks = stats.rankdata(case.target[chosen])
        ranks = ranks - ranks.mean()
        length = max(float(np.linalg.norm(ranks)), 1.0)
        return cls(
            places[torch.from_numpy(chosen[case.lungs])].to(lungs.device),
            torch.from_numpy(ranks / length).float().to(lungs.device),
        )

    def spearman(self, predicted: Float[Tensor, "1 s r c"]) -> Float[Tensor, ""]:
        """R with a prediction in the frame."""
        values = predicted.flatten()[self.where]
        order = torch.empty_like(values)
        order[values.argsort(stable=True)] = torch.arange(len(values), device=values.device, dtype=values.dtype)
        order = order - order.mean()
        spearman: Tensor = torch.dot(order, self.ranks) / torch.linalg.vector_norm(order).clamp_min(1.0)
        return spearman
