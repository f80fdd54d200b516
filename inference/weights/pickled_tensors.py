"""Checkpoints that others saved with torch, read without running anything that they hold.

A `.pth` file is a pickle, and a pickle may run any program when it is read. torch's `weights_only` reader knows tensors
and plain values and refuses the rest; of numpy the plain numbers are allowed here too, because trainers note their
losses with them. torch is imported when a file is read, never before.
"""

import warnings
from io import BufferedIOBase
from pathlib import Path
from typing import Any, cast

from inference.errors import UnusableWeights


def read_pickled_tensors(name: str, file: Path | BufferedIOBase) -> Any:
    """What a checkpoint holds, on the CPU.

    Args:
        name: of the weights, for the error.
        file: the checkpoint.

    Raises:
        UnusableWeights: it is not a checkpoint, or it holds more than tensors and plain values.
    """
    import pickle

    import numpy as np
    import torch

    allowed: list[Any] = [
        np.dtype,
        *(type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)),
    ]
    scalar = np.float64(0).__reduce__()[0]
    allowed += [(scalar, f"numpy.{room}.multiarray.scalar") for room in ("core", "_core")]
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(allowed):
            warnings.simplefilter("ignore")  # of storage classes in old checkpoints
            return torch.load(cast(Any, file), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as fault:
        raise UnusableWeights(name, "it holds more than tensors and plain values, or is no checkpoint") from fault
    # torch reports damage with errors of many kinds for one fact: these bytes are no checkpoint.
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, AttributeError, IndexError) as fault:
        raise UnusableWeights(name, f"it is no checkpoint of torch ({type(fault).__name__})") from fault
