"""A series that waits for a person."""

from dicom_node.reception.arrivals import Arrivals
from dicom_node.reception.shelf import Put, Reason
from dicom_node.reception.spool import Spool
from dicom_node.settings.config import NodeSettings
from tests.small_ct import received, small_ct


def hold_series(settings: NodeSettings) -> str:
    """Put a series that no rule took into the node; its key."""
    spool = Spool(settings.data_dir / "spool", minimum_free_mb=1)
    spool.association_opened("a1")
    spool.keep(received(small_ct()))
    spool.association_released("a1")
    spool.association_ended("a1")
    arrivals = Arrivals.under(settings.data_dir, spool)
    (series,) = spool.series()
    arrivals.unmatched.put(spool, series, Reason(Put.UNMATCHED, "NO_RULE", "No rule took it.", "", 1.0))
    return series.key
