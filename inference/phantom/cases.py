"""The unusual digital patients that the tests and the documentation speak of, by name."""

from collections.abc import Mapping
from types import MappingProxyType

from inference.anatomy import Lobe, Side
from inference.phantom.bodies import Child, SitusInversus, StomachGas
from inference.phantom.conditions import Condition
from inference.phantom.lesions import Collapse, Consolidation, Emphysema, Mass, Nodules, Wall
from inference.phantom.pleura import Effusion, Pneumothorax
from inference.phantom.scans import Contrast, Implant, Metal, MirroredCt, Prone
from inference.phantom.surgery import Lobectomy, Pneumonectomy

UNUSUAL: Mapping[str, tuple[Condition, ...]] = MappingProxyType(
    {
        "nodules": (Nodules(),),
        "mass on the chest wall": (Mass(Wall.CHEST),),
        "mass on the mediastinum": (Mass(Wall.MEDIASTINUM),),
        "consolidated RLL": (Consolidation(Lobe.RLL),),
        "consolidated RUL": (Consolidation(Lobe.RUL),),
        "collapsed LLL": (Collapse(Lobe.LLL),),
        "collapsed RUL": (Collapse(Lobe.RUL),),
        "effusion": (Effusion(Side.RIGHT),),
        "effusion, prone": (Prone(), Effusion(Side.RIGHT)),
        "pneumothorax": (Pneumothorax(Side.LEFT),),
        "left lung taken out": (Pneumonectomy(Side.LEFT),),
        "right lung taken out": (Pneumonectomy(Side.RIGHT),),
        "RUL taken out": (Lobectomy(Lobe.RUL),),
        "LLL taken out": (Lobectomy(Lobe.LLL),),
        "child": (Child(),),
        "emphysema": (Emphysema(),),
        "contrast": (Contrast(),),
        "pacemaker": (Metal(Implant.PACEMAKER),),
        "screws": (Metal(Implant.SCREWS),),
        "stomach gas": (StomachGas(),),
        "situs inversus": (SitusInversus(),),
        "mirrored picture": (MirroredCt(),),
        "prone": (Prone(),),
    }
)
"""One condition each where that can be; none of them is a real patient."""
