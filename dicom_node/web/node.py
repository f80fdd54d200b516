"""What the pages know of the node that they show: its settings, and whatever is opened once for all requests."""

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from dicom_node.audit.trail import AuditTrail
from dicom_node.operations import Operations
from dicom_node.settings.config import NodeSettings
from dicom_node.web.views_told import ViewsTold


@dataclass(frozen=True, slots=True)
class WebNode:
    """The node behind the pages."""

    settings: NodeSettings
    operations: Operations
    """Safe to use from several threads at once."""
    audit: AuditTrail
    views: ViewsTold = field(default_factory=ViewsTold)
    """Views of cases that the trail knows of."""


def _node(request: Request) -> WebNode:
    node: WebNode = request.app.state.node
    return node


TheNode = Annotated[WebNode, Depends(_node)]
"""Parameter of a handler that needs the node."""
