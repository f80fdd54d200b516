"""The application: every page and every part of the JSON API, behind the guards."""

from typing import Final

from fastapi import APIRouter, FastAPI
from fastapi.staticfiles import StaticFiles

from dicom_node.operations import Operations
from dicom_node.settings.config import NodeSettings
from dicom_node.web.node import WebNode
from dicom_node.web.page import TEMPLATES

ROUTERS: Final[tuple[APIRouter, ...]] = ()
"""One for each subject, in the order of the menu."""


def create_app(settings: NodeSettings) -> FastAPI:
    """The page of one node.

    Args:
        settings: of the node.
    """
    app = FastAPI(title="perfusion-node", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    app.state.node = WebNode(settings, Operations(settings), settings.audit_trail())
    app.mount("/static", StaticFiles(directory=TEMPLATES.parent / "static"), name="static")
    for router in ROUTERS:
        app.include_router(router)
    return app
