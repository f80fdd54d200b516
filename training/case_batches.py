"""All cases of a run in the memory of its device, and the batch of every step.

Some hundred cases fit a GPU many times over, so nothing is read, decoded or copied while a network trains: a batch is
picked out and altered where it is needed. Which cases a step sees, and how they are altered, follows from the seed and
the number of the batch alone; a run that is resumed needs no state of a sampler, and several processes can take turns.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float16, Int
from torch import Tensor

from training.augmentation import NO_AUGMENTATION, AugmentationPlan, Batch, Shape, augmented, draw_augmentation
from training.study_case import StudyCase

MULTIPLE = 16
"""Sides of the frame are divisible by this, or by what the window is: no network here halves its input more often."""


class CaseBatches:
    """Cases on a device, padded with 0 to one frame, with each case in its middle."""

    def __init__(
        self,
        cases: Sequence[StudyCase],
        device: torch.device | str,
        window: Shape,
        *,
        batch_size: int = 4,
        channel_names: Sequence[str] | None = None,
        augmentation: AugmentationPlan = NO_AUGMENTATION,
    ) -> None:
        """Take cases to a device.

        Args:
            cases: one or more, with the same channels and spacing.
            device: where batches are made.
            window: slices, rows and columns of a sample. A smaller case is padded with 0; of a larger one each sample
                sees a part, drawn anew each time.
            batch_size: samples in a batch.
            channel_names: which channels, in the order in which the network wants them; those of the first case if
                None.
            augmentation: how far samples are altered.

        Raises:
            ValueError: no case, or cases of several spacings.
            KeyError: a case lacks a channel.
        """
        if not cases or len({case.grid.spacing_mm for case in cases}) > 1:
            raise ValueError(f"one or more cases of one spacing are wanted, got {len(cases)}")
        self.window, self.batch_size = window, batch_size
        self.patients = tuple(case.patient for case in cases)
        """In the order of indices."""
        self.channel_names = tuple(channel_names or cases[0].channel_names)
        self.spacing_mm = cases[0].grid.spacing_mm
        self._augmentation = augmentation
        self._shapes = np.array([case.grid.shape for case in cases])
        frame = [_side(side, int(most)) for side, most in zip(window, self._shapes.max(axis=0), strict=True)]
        self.frame: Shape = (frame[0], frame[1], frame[2])
        """Sides of what `whole` gives."""
        self._first = (np.array(self.frame) - self._shapes) // 2
        self._volumes = self._on(torch.device(device), cases)

    def __len__(self) -> int:
        """Number of cases."""
        return len(self._shapes)

    @property
    def device(self) -> torch.device:
        """Where the cases are."""
        return self._volumes.device

    def batch(self, number: int, seed: int) -> Batch:
        """One batch; equal arguments give equal batches.

        All batches together are one endless sequence of samples, in which every case comes once before any comes
        twice. So processes that take turns see what one alone would see.

        Args:
            number: of the batch within the run, from 0.
            seed: of the run, 0 or more.
        """
        places = range(number * self.batch_size, (number + 1) * self.batch_size)
        picked = np.array([self._order(place // len(self), seed)[place % len(self)] for place in places])
        draw = draw_augmentation(self._augmentation, self.channel_names, seed=seed, places=places)
        shapes, window = self._shapes[picked], np.array(self.window)
        start = self._first[picked] - (window - shapes) // 2  # as `padded_to` lays a case
        room = np.maximum(shapes - window, 0) // 2
        centres = start + window // 2 + np.rint(draw.place * room).astype(np.int64)
        volumes = self._volumes[torch.as_tensor(picked, device=self.device)]
        return augmented(volumes, centres, draw, window=self.window, spacing_mm=self.spacing_mm)

    def whole(self, index: int) -> Batch:
        """One case as it is, in the whole frame: for validation and for prediction."""
        volumes = self._volumes[index : index + 1].float()
        return Batch(volumes[:, :-2], volumes[:, -1:], volumes[:, -2:-1] >= 0.5)

    def unpadded(
        self, values: Float[Tensor, "slices rows columns"], index: int
    ) -> Float[np.ndarray, "slices rows columns"]:
        """Values of the frame on the grid of a case, in float32."""
        box = tuple(slice(a, a + n) for a, n in zip(self._first[index], self._shapes[index], strict=True))
        cut: Float[np.ndarray, "slices rows columns"] = values[box].float().cpu().numpy()
        return cut

    def _order(self, turn: int, seed: int) -> Int[np.ndarray, " cases"]:
        """The order of the cases when all are gone through for the `turn`-th time."""
        order: Int[np.ndarray, " cases"] = np.random.default_rng([seed, turn, len(self)]).permutation(len(self))
        return order

    def _on(
        self, device: torch.device, cases: Sequence[StudyCase]
    ) -> Float16[Tensor, "cases volumes slices rows columns"]:
        """Channels, lungs and target of all cases; in 16 bits, which is more than their files hold."""
        shape = (len(cases), len(self.channel_names) + 2, *self.frame)
        volumes = torch.zeros(shape, dtype=torch.float16, device=device)
        for index, case in enumerate(cases):
            own = np.stack([*(case.channel(name) for name in self.channel_names), case.lungs, case.target])
            first, sides = self._first[index], self._shapes[index]
            s, r, k = (slice(a, a + n) for a, n in zip(first, sides, strict=True))
            volumes[index, :, s, r, k] = torch.from_numpy(own.astype(np.float16)).to(device)
        return volumes


def _side(window: int, most: int) -> int:
    """Side of the frame that holds a case of `most` voxels and a window."""
    step = window if most > window and window < MULTIPLE else MULTIPLE
    return window if most <= window else -(-most // step) * step
