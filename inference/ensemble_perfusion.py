"""Perfusion by the networks of all folds of a study: their mean, how far they disagree, and how usual the CT is.

    CT, lobes ─▶ network input ─┬─▶ network of fold 1 ─▶ relative ─┐
                                ├─▶ network of fold 2 ─▶ relative ─┼─▶ mean ─▶ onto the CT ─▶ PerfusionMap
                                └─▶ network of fold 3 ─▶ relative ─┘    └─▶ spread, interval (`uncertainty`)
               input statistics ─▶ fingerprint of the training ─▶ distance (`domain`, `fingerprint`)

All members see the same input, made once. When memory runs out all go down the ladder together (`execution`).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float32

from inference.domain import input_statistics
from inference.errors import InvalidModelCard
from inference.execution import Execution, ExecutionRecord
from inference.fingerprint import Fingerprint
from inference.geometry import Box
from inference.model_card import ModelCard, ModelIdentity
from inference.network_perfusion import NetworkPerfusion, network_output, smaller_window
from inference.networks import PerfusionNetwork, device_of
from inference.perfusion import relative_to_lung_mean
from inference.preprocessing import NetworkInput, boxed_onto_ct, network_input, seen_lobes
from inference.torch_memory import memory_guarded
from inference.uncertainty import ConformalInterval, Uncertainty, uncertainty_of
from inference.volumes import CtVolume, LobeMap, PerfusionMap, require_same_grid

if TYPE_CHECKING:
    from inference.models.bundle import ModelBundle

FINGERPRINT_FILE = "calibration/fingerprint.json"
INTERVAL_FILE = "calibration/conformal.json"
"""Inside a bundle; a bundle without them gives a map without a distance or without an interval."""


class EnsemblePerfusion:
    """Perfusion engine with one network for each fold; a `PerfusionModel` on the ladder."""

    def __init__(
        self,
        identity: ModelIdentity,
        members: Sequence[PerfusionNetwork],
        *,
        interval: ConformalInterval | None = None,
        fingerprint: Fingerprint | None = None,
        device: str = "auto",
        execution: Execution | None = None,
    ) -> None:
        """Take networks into use; they go to their device with the first patient.

        Args:
            identity: of the ensemble; its hash covers the weights of all members.
            members: at least one; all must be shown the same (spacing, HU window, window, channels, sides).
            interval: with one value for each member, in their order; None where nothing was calibrated.
            fingerprint: of the patients that the members were trained on; None leaves the distance unknown.
            device: `cpu`, `cuda` or `auto`.
            execution: how to run them; by default as the cards say.

        Raises:
            InvalidModelCard: no member, members that are shown different things, or an interval of another number.
        """
        if len({_shown(member.card) for member in members}) != 1:
            raise InvalidModelCard("an ensemble needs members that are all shown the same")
        if interval is not None and len(interval.patients) != len(members):
            raise InvalidModelCard(f"the interval is of {len(interval.patients)} members, there are {len(members)}")
        self._identity = identity
        self._members = tuple(member.eval() for member in members)
        self._interval = interval
        self._fingerprint = fingerprint
        self._execution = execution or Execution(device_of(device).type)  # type: ignore[arg-type]

    @classmethod
    def of(cls, bundle: "ModelBundle", *, device: str = "auto") -> "EnsemblePerfusion":
        """The ensemble of a bundle that was read and checked.

        Raises:
            InvalidModelCard: weights do not fit their card, or what was calibrated is unusable.
            InvalidModelBundle: what was calibrated is not JSON.
        """
        interval, fingerprint = bundle.document(INTERVAL_FILE), bundle.document(FINGERPRINT_FILE)
        return cls(
            bundle.identity,
            bundle.networks(),
            interval=None if interval is None else ConformalInterval.of(interval),
            fingerprint=None if fingerprint is None else Fingerprint.of(fingerprint),
            device=device,
        )

    @property
    def identity(self) -> ModelIdentity:
        """The identity of the ensemble."""
        return self._identity

    def ladder(self) -> tuple[Execution, ...]:
        """The ways to run the members on their device, see `execution`."""
        return self._one().ladder()

    def on(self, execution: Execution) -> "EnsemblePerfusion":
        """The same ensemble, to run that way."""
        return EnsemblePerfusion(
            self._identity,
            self._members,
            interval=self._interval,
            fingerprint=self._fingerprint,
            execution=execution,
        )

    def record(self, why: str) -> ExecutionRecord:
        """How it runs."""
        return replace(self._one().record(why), network=self._identity.name)

    def predict(self, ct: CtVolume, lobes: LobeMap) -> PerfusionMap:
        """The mean of the members on the grid of `ct`, with its uncertainty and the distance of the CT.

        Each member's map is scaled to a mean of 1 over the lungs first, so that all count alike.

        Args:
            ct: HU, any spacing; resampled to that of the cards.
            lobes: on the grid of `ct`.

        Raises:
            GridMismatch: `lobes` is not on the grid of `ct`.
            ImplausibleResult: the output of a network is not finite, or nowhere above 0.
            OutOfMemory: run this way, the networks need more memory than there is.
        """
        require_same_grid(ct.grid, lobes.grid)
        lungs = lobes.lungs
        box, mean, uncertainty = memory_guarded(lambda: self._predicted(ct, lobes))
        values = np.zeros(ct.grid.shape, dtype=np.float32)
        values[box] = relative_to_lung_mean(mean, lungs[box])
        domain = None if self._fingerprint is None else self._fingerprint.distance(input_statistics(ct, lobes))
        return PerfusionMap(values, lungs, ct.grid, self._identity, uncertainty, domain)

    def _predicted(self, ct: CtVolume, lobes: LobeMap) -> tuple[Box, Float32[np.ndarray, "s r c"], Uncertainty]:
        """The box of the CT that holds the lungs, the mean of the members in it, and their uncertainty."""
        device = self._execution.device
        seen = network_input(ct, lobes, self._members[0].card, device)
        inside = _lung_voxels(seen)
        maps = np.stack([self._relative(member, seen, inside) for member in self._members])
        uncertainty = uncertainty_of(maps, inside, seen_lobes(lobes, seen, device), seen.grid, self._interval)
        return seen.box, boxed_onto_ct(maps.mean(axis=0), seen, ct.grid, device), uncertainty

    def _relative(
        self, member: PerfusionNetwork, seen: NetworkInput, inside: Bool[np.ndarray, "s r c"]
    ) -> Float32[np.ndarray, "s r c"]:
        """The map of one member, also beyond the lungs, where the way back onto the CT interpolates."""
        way, card = self._execution, member.card
        window = smaller_window(card) if way.smaller_tiles else card.window_size
        output = network_output(member, seen, way, window)
        relative_to_lung_mean(output, inside)  # raises where a map makes no sense
        scaled: Float32[np.ndarray, "s r c"] = output / np.float32(output[inside].mean(dtype=np.float64))
        return scaled

    def _one(self) -> NetworkPerfusion:
        """One member as an engine; all run alike."""
        return NetworkPerfusion(self._members[0], execution=self._execution)


def _shown(card: ModelCard) -> tuple[object, ...]:
    """Everything of a card that shapes the input."""
    return card.input_spacing_mm, card.hu_window, card.window_size, card.channels, card.lungwise


def _lung_voxels(seen: NetworkInput) -> Bool[np.ndarray, "s r c"]:
    """The mask; of lungs too small for one, all voxels that hold some."""
    return seen.mask if seen.mask.any() else seen.lungs > 0.0
