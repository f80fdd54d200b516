"""Every way in which torch runs out of memory is one error, and what it held is given back."""

import weakref

import pytest
import torch

from inference.errors import OutOfMemory
from inference.execution import Execution, Rung
from inference.torch_memory import memory_guarded, precision_of


def of_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def of_the_cpu() -> None:
    torch.empty(2**60)


def of_a_gpu_for_another_library() -> None:
    raise RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")


def of_a_gpu_that_others_use() -> None:
    raise RuntimeError("CUDA error: out of memory")


def of_numpy() -> None:
    raise MemoryError


@pytest.mark.parametrize(
    "work", [of_a_gpu, of_a_gpu_for_another_library, of_a_gpu_that_others_use, of_the_cpu, of_numpy]
)
def test_memory_that_runs_out_is_one_error(work) -> None:
    with pytest.raises(OutOfMemory):
        memory_guarded(work)


def test_other_errors_stay_what_they_are() -> None:
    def work() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal"):
        memory_guarded(work)


def test_what_the_work_held_is_given_back_before_the_next_try() -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def work() -> None:
        tensor = torch.ones(8)
        held.append(weakref.ref(tensor))
        of_a_gpu()

    try:
        memory_guarded(work)
    except OutOfMemory:
        assert held[0]() is None


def test_half_precision_is_float16_and_only_on_its_rung() -> None:
    with precision_of(Execution("cpu", Rung.HALF_PRECISION)):  # no rung of a CPU; here for want of a GPU
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == torch.float16
    with precision_of(Execution("cuda", Rung.SMALLER_TILES)):
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == torch.float32
