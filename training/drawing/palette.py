"""Colours, told apart by colour-blind readers too: one thing has one colour in all pictures.

Categories have the colours of Okabe and Ito (https://jfly.uni-koeln.de/color/). Perfusion is `inferno`: even to the
eye, brighter for more. CT is grey.
"""

from collections.abc import Mapping
from types import MappingProxyType

from matplotlib.colors import LinearSegmentedColormap

from inference.anatomy import Lobe

LOBE_COLOURS: Mapping[Lobe, str] = MappingProxyType(
    {Lobe.RUL: "#56b4e9", Lobe.RML: "#f0e442", Lobe.RLL: "#009e73", Lobe.LUL: "#e69f00", Lobe.LLL: "#cc79a7"}
)
"""On dark paper."""
LOBE_COLOURS_ON_WHITE: Mapping[Lobe, str] = MappingProxyType(
    {Lobe.RUL: "#0072b2", Lobe.RML: "#e69f00", Lobe.RLL: "#009e73", Lobe.LUL: "#56b4e9", Lobe.LLL: "#cc79a7"}
)
"""Yellow cannot be seen on white paper."""
GREYS = LinearSegmentedColormap.from_list("greys", ["#000000", "#b4b8be"])
"""Soft tissue is at the bright end of a lung window; white, it would outshine everything else on a dark page."""
PERFUSION_MAP = "inferno"
PERFUSION_RANGE = (0.0, 2.0)
"""Of the lung mean, from the first to the last colour."""
BAND = "#d9d9d9"
"""A range behind points."""
INK = "#1f2933"
"""Text and axes on white paper."""
FAINT = "#6b7280"
"""What is said by the way."""
