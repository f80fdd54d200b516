"""A series that waits for a person."""

from dicom_node.reception.arrivals import Arrivals
from dicom_node.reception.holds import Hold, state_of
from dicom_node.reception.shelf import Put, Reason
from dicom_node.reception.spool import Spool
from dicom_node.reception.spooled_series import SpooledSeries
from dicom_node.settings.config import NodeSettings
from tests.small_ct import received, small_ct


def put_series_aside(settings: NodeSettings) -> str:
    """Put a series that no rule took into the node; its key."""
    spool, series = _received(settings)
    arrivals = Arrivals.under(settings.data_dir, spool)
    arrivals.unmatched.put(spool, series, Reason(Put.UNMATCHED, "NO_RULE", "No rule took it.", "", 1.0))
    return series.key


def hold_series(settings: NodeSettings) -> str:
    """Put a series that a rule holds into the node; its key."""
    spool, series = _received(settings)
    arrivals = Arrivals.under(settings.data_dir, spool)
    hold = Hold("TOO_FEW_SLICES", "There is 1 slice; at least 16 are needed.", "planning-ct", 1.0, state_of(series))
    arrivals.holds.put(series.key, hold)
    return series.key


def _received(settings: NodeSettings) -> tuple[Spool, SpooledSeries]:
    spool = Spool(settings.data_dir / "spool", minimum_free_mb=1)
    spool.association_opened("a1")
    spool.keep(received(small_ct()))
    spool.association_released("a1")
    spool.association_ended("a1")
    (series,) = spool.series()
    return spool, series
