"""What every disease of the in-silico cohort does to lung tissue and to arteries."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.tissue.lung_tissue import LungTissue


@runtime_checkable
class Disease(Protocol):
    """One finding of one patient, with its place and severity; a frozen dataclass of plain numbers."""

    @property
    def name(self) -> str:
        """Name of the kind, such as `centrilobular-emphysema`."""
        ...

    def damage(self, tissue: LungTissue) -> LungTissue:
        """What the CT shows of it and which capillaries are lost."""
        ...

    def narrow(self, tree: ArterialTree) -> Float[np.ndarray, " segments"]:
        """What is left of each artery's lumen: 1 open, 0 closed."""
        ...

    def record(self) -> dict[str, Any]:
        """Place and severity for the patient's JSON record."""
        ...
