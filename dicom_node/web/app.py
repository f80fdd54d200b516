"""The application: every page and every part of the JSON API, behind the guards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastapi import APIRouter, FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.middleware.trustedhost import TrustedHostMiddleware

from dicom_node.audit.people import AtPage
from dicom_node.operations import Operations
from dicom_node.settings.config import NodeSettings
from dicom_node.settings.web_settings import WebSettings
from dicom_node.web import sign_in
from dicom_node.web.access.accounts import Accounts
from dicom_node.web.access.rights import Person
from dicom_node.web.access.standing import People
from dicom_node.web.case import routes as case
from dicom_node.web.decisions import api as decisions_api
from dicom_node.web.decisions import forms as decisions
from dicom_node.web.decisions import series_forms as series_decisions
from dicom_node.web.entrance import Entrance
from dicom_node.web.fault_answers import RESPONSES, answer_faults
from dicom_node.web.headers import StrictHeaders
from dicom_node.web.node import WebNode
from dicom_node.web.page import TEMPLATES
from dicom_node.web.sign_in import SignInDesk, sign_in_desk
from dicom_node.web.today import api as today_api
from dicom_node.web.today import streams as today_streams
from dicom_node.web.today import todays_page
from dicom_node.web.tools import routes as tools
from dicom_node.web.tools.rule_trial import FOLDER as TRIED_FILES
from dicom_node.web.tools.scratch_folder import clear_abandoned
from dicom_node.web.viewer import routes as viewer

ROUTERS: Final[tuple[APIRouter, ...]] = (
    todays_page.router,
    today_api.router,
    today_streams.router,
    case.router,
    decisions.router,
    decisions_api.router,
    series_decisions.router,
    tools.router,
    viewer.router,
)
"""One for each subject, in the order of the menu."""


def create_app(settings: NodeSettings, *, people: People | None = None) -> FastAPI:
    """The page of one node.

    Args:
        settings: of the node.
        people: who may be signed in; those that the site wants unless told otherwise.
    """
    node = WebNode(settings, Operations(settings), settings.audit_trail())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        clear_abandoned(settings.data_dir / TRIED_FILES)
        with node.operations:
            yield

    app = FastAPI(
        title="perfusion-node",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        responses=RESPONSES,
        lifespan=lifespan,
    )
    app.state.node = node
    app.state.sign_in = sign_in_desk(settings.web, Accounts.under(settings.data_dir), node.audit, people)
    app.mount("/static", StaticFiles(directory=TEMPLATES.parent / "static"), name="static")
    for router in (sign_in.router, *ROUTERS):
        app.include_router(router)
    answer_faults(app)
    _guard(app, settings.web, app.state.sign_in)
    return app


def _guard(app: FastAPI, web: WebSettings, desk: SignInDesk) -> None:
    """What stands around all handlers; the last one is the outermost."""

    def signed_in(person: Person) -> None:
        desk.audit.signed_in(AtPage(person.name, person.address), f"as {person.role}, by a proxy")

    app.add_middleware(Entrance, settings=web, sessions=desk.sessions, people=desk.people, signed_in=signed_in)
    names = [written for name in web.host_names for written in (name, f"[{name}]")]
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=names, www_redirect=False)
    app.add_middleware(StrictHeaders, is_secure=web.is_secure)
