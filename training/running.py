"""How a job runs on the machine it is on: what changes its time and the last digits of its figures, nothing else.

A recipe says what is trained; this says with what. It is no part of a recipe, so that the same study runs on two CPU
cores, on one GPU that several jobs share, and on many (`torchrun`), by the same command. Everything chosen here is
written into the result.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Running:
    """With what a job is computed."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: a GPU where there is one."""
    bfloat16: bool = True
    """Convolutions in bfloat16; weights, sums and losses in float32. About twice as fast where it is known."""
    channels_last: bool = True
    """Channels innermost in memory (torch's channels_last_3d); `make bench-training` measures what it gives."""
    graphs: bool = False
    """A whole step as one CUDA graph: one launch in place of a thousand. On a CPU, over several processes and where the
    recording fails, steps are taken one operation at a time, as without."""
