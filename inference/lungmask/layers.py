"""lungmask's U-net laid out for a CPU: the same layers with the same weights in less time.

Why it may be faster, and why scores stay those of `lungmask.resunet.UNet` but for the last bits of float32:

* Activations lie in memory pixel by pixel (channels last), as oneDNN computes, and weights are brought into its order
  once. torch would do both anew for every layer of every batch.
* ReLU is done by the convolution before it writes its result. Batch normalisation of a trained network is one factor
  and one summand per channel; it is done in place. It is not drawn into the next convolution: that pads with zeros
  after the normalisation, so at the borders of a slice the result would be another.
* Convolution with a kernel of one pixel and bilinear enlargement both are linear, the first over channels, the second
  over pixels with weights that sum to 1: their order does not matter. Done first, the convolution has a quarter of the
  pixels.
* What the decoder takes over from the encoder is written where the decoder will read it, so nothing is joined later.
  The mean over four pixels and batch normalisation are linear as well; done first, the mean leaves a quarter of them.
* Convolutions that lungmask's network holds and never uses are left out.

What changes is the order of sums. lungmask's own scores change with its batch size for the same reason: with random
weights in the sixth digit, ours in the fifth. A label can be another only where two scores are that close; every
label is compared by `benchmarks.lobes`. What is left is convolution in float32, as fast as MKL multiplies matrices.
Winograd's way with fewer multiplications was tried on top of these: moving the numbers about costs what it saves.

With `dtype=torch.bfloat16` all but the two blocks of full resolution, the first and the last, run in 16 bits. That is
four fifths of the multiplications, and where 8 bits of mantissa do least: in the first block HU would be rounded to
steps of up to 8, and the last one draws the borders. What else it takes to keep them, measured with stand-in weights by
the Dice of the middle lobe, which moves most (0.991 with all in plain 16 bits): normalisation with a factor and a
summand of 32 bits, since rounded ones shift whole channels, and weights rounded with regard to one another (`rounded`),
together 0.993; the last block in 32 bits then gives 0.996.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


class UNetOnCpu:
    """A callable with the scores of a lungmask network."""

    def __init__(self, network: Any, dtype: torch.dtype = torch.float32) -> None:
        """Take over the weights of a network.

        Args:
            network: a `lungmask.resunet.UNet` as lungmask itself makes it (padding, batch normalisation, bilinear
                enlargement, no residuals).
            dtype: of the activations between the first and the last block; float32 or bfloat16.
        """
        full = torch.float32
        self._down = [_block(block.block, dtype if level else full) for level, block in enumerate(network.down_path)]
        self._up = [
            (_Convolution.of(up.up[1], kind), _block(up.conv_block.block, kind))
            for up, kind in zip(network.up_path, [*[dtype] * (len(network.up_path) - 1), full], strict=True)
        ]
        self._last = _Convolution.of(network.last)

    def __call__(self, slices: Tensor) -> Tensor:
        """Scores (batch, classes, rows, columns) of slices (batch, 1, rows, columns); before the softmax."""
        x, bridges = slices.contiguous(memory_format=torch.channels_last), []
        for first, second in self._down[:-1]:
            x, bridge = _halved(_half(x, first), second)
            bridges.append(bridge)
        for half in self._down[-1]:
            x = _half(x, half)
        for up, block in self._up:
            joined = bridges.pop()
            left = joined[:, : joined.shape[1] // 2]
            left.copy_(functional.interpolate(up(x), scale_factor=2.0, mode="bilinear", align_corners=False))
            x = joined
            for half in block:
                x = _half(x, half)
        return self._last(x)


@dataclass(frozen=True, slots=True)
class _Convolution:
    """A convolution whose weights lie as the CPU wants them."""

    weight: Tensor
    bias: Tensor
    padding: int
    by_onednn: bool

    @classmethod
    def of(cls, layer: Any, dtype: torch.dtype = torch.float32) -> "_Convolution":
        weight, bias = layer.weight.detach(), layer.bias.detach().to(dtype)
        if dtype != torch.float32:
            weight = rounded(weight, dtype)
        padding = int(layer.padding[0])
        weight = weight.contiguous(memory_format=torch.channels_last)
        by_onednn = has_onednn()
        if by_onednn:
            weight = torch.ops.mkldnn._reorder_convolution_weight(weight, [padding] * 2, [1, 1], [1, 1], 1)
        return cls(weight, bias, padding, by_onednn)

    def __call__(self, x: Tensor, *, relu: bool = False) -> Tensor:
        x = x.to(self.weight.dtype)
        if not self.by_onednn:
            result = functional.conv2d(x, self.weight, self.bias, padding=self.padding)
            return result.relu_() if relu else result
        scores: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self.weight, self.bias, [self.padding] * 2, [1, 1], [1, 1], 1, "relu" if relu else "none", [], ""
        )
        return scores


@dataclass(frozen=True, slots=True)
class _Normalisation:
    """Batch normalisation with fixed statistics."""

    factor: Tensor
    summand: Tensor
    zeros: Tensor
    ones: Tensor

    @classmethod
    def of(cls, layer: Any) -> "_Normalisation":
        factor = (layer.weight / torch.sqrt(layer.running_var + layer.eps)).detach()
        summand = layer.bias.detach() - layer.running_mean * factor
        return cls(factor, summand, torch.zeros_like(factor), torch.ones_like(factor))

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """Normalised into `out`, or where there is room, which may be `x`."""
        if x.dtype == torch.float32:
            factor, summand = self.factor.view(1, -1, 1, 1), self.summand.view(1, -1, 1, 1)
            return torch.addcmul(summand, x, factor, out=x if out is None else out)
        # The one operation that takes 16 bits and computes with a factor and a summand of 32.
        result = functional.batch_norm(x, self.zeros, self.ones, self.factor, self.summand, eps=0.0)
        return result if out is None else out.copy_(result)


_Half = tuple[_Convolution, _Normalisation]


def rounded(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Weights (out, in, rows, columns) in fewer bits, so that the sum over each kernel is kept to one rounding.

    What rounding takes from one place of a kernel is given to the next. Neighbouring pixels have much the same value,
    so an error that adds up to nothing over a kernel does little, where one in every place for itself shifts a channel.
    """
    result = torch.empty_like(weight, dtype=dtype)
    owed = torch.zeros_like(weight[..., 0, 0])
    for row, column in product(range(weight.shape[2]), range(weight.shape[3])):
        wanted = weight[..., row, column] + owed
        result[..., row, column] = wanted
        owed = wanted - result[..., row, column].float()
    return result


def has_onednn() -> bool:
    """Whether torch's convolutions with ReLU inside can be used here; inductor's own, so torch's version is pinned."""
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


def _half_block(block: Any, index: int, dtype: torch.dtype) -> _Half:
    """Convolution, ReLU and normalisation from a place in a block of six layers."""
    return _Convolution.of(block[index], dtype), _Normalisation.of(block[index + 2])


def _block(block: Any, dtype: torch.dtype) -> tuple[_Half, _Half]:
    return _half_block(block, 0, dtype), _half_block(block, 3, dtype)


def _half(x: Tensor, half: _Half) -> Tensor:
    convolution, normalisation = half
    return normalisation(convolution(x, relu=True))


def _halved(x: Tensor, half: _Half) -> tuple[Tensor, Tensor]:
    """The second half of a block of the encoder: with half the rows and columns, and what the decoder reads of it.

    The latter has room for the decoder's own channels on the left; those of the encoder are on the right.
    """
    convolution, normalisation = half
    x = convolution(x, relu=True)
    batch, channels, rows, columns = x.shape
    bridge = torch.empty((batch, 2 * channels, rows, columns), dtype=x.dtype, memory_format=torch.channels_last)
    normalisation(x, out=bridge[:, channels:])
    return normalisation(functional.avg_pool2d(x, 2)), bridge
