"""Perfusion by a trained network: windows over the lungs, blended, and put back on the CT.

No trained weights come with this project. The engine runs what a model folder holds and says in every object which
weights these were and what they were trained on.
"""

from pathlib import Path

import torch
from monai.inferers import sliding_window_inference

from inference.checkpoint import load_network
from inference.model_card import ModelIdentity
from inference.networks import PerfusionNetwork, device_of
from inference.perfusion import relative_to_lung_mean
from inference.preprocessing import network_input, onto_ct
from inference.volumes import CtVolume, LobeMap, PerfusionMap

OVERLAP = 0.5
"""Share by which neighbouring windows overlap; with Gaussian blending no window edges show in the map."""


class NetworkPerfusion:
    """Perfusion engine with a network."""

    def __init__(self, network: PerfusionNetwork, *, device: str = "auto") -> None:
        """Take a network into use.

        Args:
            network: with the card that says how to feed it.
            device: `cpu`, `cuda` or `auto`.
        """
        self._device = device_of(device)
        self._network = network.eval().to(self._device)

    @classmethod
    def load(cls, folder: Path, *, device: str = "auto") -> "NetworkPerfusion":
        """Load a model folder.

        Raises:
            ModelError: the folder holds no usable model.
        """
        return cls(load_network(folder), device=device)

    @property
    def identity(self) -> ModelIdentity:
        """The identity of the card."""
        return self._network.card.identity

    def predict(self, ct: CtVolume, lobes: LobeMap) -> PerfusionMap:
        """Predict relative perfusion on the grid of `ct`.

        Equal input gives equal output on the same kind of machine; a GPU and a CPU differ in the last digits.

        Args:
            ct: HU, any spacing; resampled to that of the card.
            lobes: on the grid of `ct`.

        Raises:
            GridMismatch: `lobes` is not on the grid of `ct`.
            ImplausibleResult: the network's output is not finite.
        """
        card = self._network.card
        seen = network_input(ct, lobes, card)
        with torch.inference_mode():
            output = sliding_window_inference(
                torch.from_numpy(seen.channels)[None].to(self._device),
                roi_size=card.window_size,
                sw_batch_size=1,
                predictor=self._network,
                overlap=OVERLAP,
                mode="gaussian",
            )
        uptake = onto_ct(output[0, 0].float().cpu().numpy(), seen, ct)
        return PerfusionMap(relative_to_lung_mean(uptake, lobes.lungs), lobes.lungs, ct.grid, self.identity)
