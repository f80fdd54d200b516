"""Whether a model in shadow is to look at a case, and whether what it made may leave: asked where nothing may fail."""

import structlog

from dicom_node.jobs.cases import CaseFolder
from dicom_node.settings.config import NodeSettings


def is_wanted(settings: NodeSettings) -> bool:
    """Whether a model runs in shadow now; no, where that cannot be found out for whatever reason."""
    from inference.models.shadow import shadow_of

    try:
        return shadow_of(settings.model_registry()) is not None
    except Exception as fault:  # the case itself goes on
        structlog.get_logger().warning("shadow_unknown", code=getattr(fault, "code", type(fault).__name__))
        return False


def is_meant_for(settings: NodeSettings, folder: CaseFolder, destination: str) -> bool:
    """Whether objects of a case are of the model that runs in shadow now, and it still sends to that destination."""
    from inference.models.shadow import shadow_of

    try:
        shadow, facts = shadow_of(settings.model_registry()), folder.beside().object_facts()
    except Exception as fault:  # what cannot be read is not sent
        structlog.get_logger().warning("shadow_unknown", code=getattr(fault, "code", type(fault).__name__))
        return False
    if shadow is None or shadow.destination != destination:
        return False
    return bool(facts["model"] == shadow.model.content_sha256)
