"""What torch says when memory runs out, as one error; and how activations are halved."""

import gc
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch

from inference.errors import OutOfMemory
from inference.execution import Execution

_OUT_OF_MEMORY = ("DefaultCPUAllocator", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
"""Texts of a `RuntimeError` where torch has no class of its own: a failed allocation on the CPU
(c10/core/impl/alloc_cpu.cpp), on a GPU outside torch's allocator, and in cuDNN or cuBLAS."""
T = TypeVar("T")


def memory_guarded(work: Callable[[], T]) -> T:
    """Do work with a network; when memory runs out, give back all that torch still holds.

    Raises:
        OutOfMemory: instead of `torch.OutOfMemoryError`, `MemoryError`, or a `RuntimeError` that says so.
    """
    try:
        return work()
    except (torch.OutOfMemoryError, MemoryError):
        pass
    except RuntimeError as fault:
        if not any(text in str(fault) for text in _OUT_OF_MEMORY):
            raise
    # Outside the handlers, where no traceback keeps the tensors alive.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    raise OutOfMemory


def precision_of(execution: Execution) -> AbstractContextManager[object]:
    """A context in which networks run with the precision of an execution."""
    if execution.half_precision:
        return torch.autocast(execution.device, dtype=torch.float16)
    return nullcontext()
