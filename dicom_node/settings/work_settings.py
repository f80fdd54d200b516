"""`WorkSettings`: which processes do the work of a host."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkSettings:
    """Table `[work]` of the site file, as far as processes are concerned."""

    workers: int = 1
    """Cases that this host works on at the same time, where no GPU is named."""
    gpus: tuple[str, ...] = ()
    """As CUDA_VISIBLE_DEVICES names them; each has a worker of its own."""
    restart_limit: int = 20
    """An attempt during which processes ended this often is not begun again: it may be what ends them."""
