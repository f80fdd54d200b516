"""Lung-wise networks treat a left lung as the right one it mirrors, and nobody else has to know."""

from dataclasses import replace

import pytest
import torch

from inference.errors import InvalidModelCard
from inference.lung_by_lung import LungByLung
from inference.model_card import ModelCard, ModelIdentity
from inference.networks import PerfusionNetwork, build_network

CARD = ModelCard(
    identity=ModelIdentity("lung-wise", "0"),
    network="AttentionResidualUnet",
    network_arguments={"channels": [4, 8], "strides": [2]},
    input_spacing_mm=(4.8, 4.8, 4.8),
    hu_window=(-1000.0, 100.0),
    window_size=(8, 8, 12),
    trained_on="Nothing; random weights.",
    intended_use="Tests.",
    channels=("hu", "left", "lungs", "height"),
    lungwise=True,
)
HU, LEFT, LUNGS, HEIGHT = range(4)


def a_patient() -> torch.Tensor:
    """Lungs of random content with two columns of mediastinum between them; columns run to the patient's left."""
    channels = torch.rand(1, 4, 8, 8, 12, generator=torch.Generator().manual_seed(4))
    channels[:, LEFT], channels[:, LUNGS] = 0.0, 1.0
    channels[:, LUNGS, ..., 5:7] = 0.0
    channels[:, LEFT, ..., 7:] = 1.0
    channels[:, HEIGHT] *= channels[:, LUNGS]
    return channels


def mirrored(patient: torch.Tensor) -> torch.Tensor:
    other = patient.flip(-1).clone()
    other[:, LEFT] = other[:, LUNGS] - other[:, LEFT]
    return other


def a_network() -> PerfusionNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return build_network(CARD).eval()


def test_lungs_come_alone_and_the_left_one_mirrored() -> None:
    patient = a_patient()
    right, left = LungByLung(CARD.channels).split(patient)
    assert LungByLung(CARD.channels).shown == ("hu", "lungs", "height")
    torch.testing.assert_close(right[0], patient[0, HU])
    torch.testing.assert_close(left[0], patient[0, HU].flip(-1))
    assert (right[1, ..., :5] == 1.0).all()
    assert (right[1:, ..., 5:] == 0.0).all()
    torch.testing.assert_close(left[2, ..., :5], patient[0, HEIGHT, ..., 7:].flip(-1))
    assert (left[1:, ..., 5:] == 0.0).all()


def test_a_mirrored_patient_has_the_mirrored_map() -> None:
    network, patient = a_network(), a_patient()
    with torch.inference_mode():
        output, other = network(patient), network(mirrored(patient))
    inside = patient[:, LUNGS : LUNGS + 1] > 0
    torch.testing.assert_close(other.flip(-1)[inside], output[inside])
    assert output.shape == (1, 1, 8, 8, 12)
    assert output[inside].std() > 1e-3


def test_one_lung_knows_of_the_other_by_its_ct_number_only() -> None:
    network, patient = a_network(), a_patient()
    other = patient.clone()
    other[:, HEIGHT, ..., 7:] = 0.5
    with torch.inference_mode():
        before, after = network(patient), network(other)
    torch.testing.assert_close(after[..., :5], before[..., :5])
    assert not torch.allclose(after[..., 7:], before[..., 7:])


def test_lungs_of_a_batch_go_back_to_their_patients() -> None:
    network = a_network()
    first, second = a_patient(), mirrored(a_patient()) * 0.9
    with torch.inference_mode():
        together = network(torch.cat([first, second]))
        torch.testing.assert_close(together, torch.cat([network(first), network(second)]))


@pytest.mark.parametrize("missing", ["left", "lungs"])
def test_a_lung_wise_card_without_the_lungs_is_refused(missing: str) -> None:
    card = replace(CARD, channels=tuple(name for name in CARD.channels if name != missing))
    with pytest.raises(InvalidModelCard, match=f"lung-wise network needs the channels {missing}"):
        build_network(card)
