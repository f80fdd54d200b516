"""`Programs`: the modules that the node starts as processes; tests and torture put stand-ins there."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Programs:
    """Module names, started as `python -m NAME`."""

    engine: str = "dicom_node.serving.engine_process"
    """Takes work from the queues."""
    stage: str = "dicom_node.work.child"
    """Does one stage of one case."""
    web: str = "dicom_node.web.web_process"
    """Serves the operator's page."""


PROGRAMS = Programs()
"""What a node starts outside of tests."""
