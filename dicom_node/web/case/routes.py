"""Addresses of one case: its page, what it says as JSON, its summary page, and a check of its objects on demand."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from fastapi.routing import APIRoute

from dicom_node.errors import NeverStarted, UnknownCase
from dicom_node.jobs.cases import CaseFolder
from dicom_node.operations import CaseDetails
from dicom_node.web.access.rights import Person, Right
from dicom_node.web.case import wording
from dicom_node.web.case.absent import NO_RESULT, NoResult, absence_of, folder_of
from dicom_node.web.case.found import densities
from dicom_node.web.case.made import Rechecks
from dicom_node.web.case.said import CaseSaid, CaseStanding, Densities
from dicom_node.web.case.summary import summary_pdf_of
from dicom_node.web.case.whole import case_said, standing_said
from dicom_node.web.decisions.panel import panel_of
from dicom_node.web.fault_answers import Fault
from dicom_node.web.guard import Operator, Viewer
from dicom_node.web.node import TheNode, WebNode
from dicom_node.web.page import page
from dicom_node.web.viewing import told_view

_NOT_FOUND: Final[dict[int | str, dict[str, Any]]] = {
    404: {"model": Fault, "description": "No such case, or it has no result: `code` says which."}
}
_PRIVATE: Final = {"Cache-Control": "private, no-store"}
_rechecks: Final = Rechecks()


class CaseRoute(APIRoute):
    """Says why, as a page or as JSON, when there is no such case, or it goes while it is read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with an answer for a case that is not there."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except (UnknownCase, NeverStarted, NoResult, FileNotFoundError) as fault:
                return await run_in_threadpool(_absent, request, fault)

        return answer


router = APIRouter(tags=["case"], route_class=CaseRoute)
CaseId = Annotated[str, Path(description="Id of a case, whole: 16 hexadecimal digits.")]


@router.get("/cases/{case_id}", response_class=HTMLResponse, include_in_schema=False)
def case_page(request: Request, case_id: CaseId, node: TheNode, person: Viewer) -> HTMLResponse:
    """Everything that is known of one case."""
    details = _seen(node, person, case_id)
    said, panel = _said(node, person, details), panel_of(details, person)
    return page(request, "case.html", person, case=said, panel=panel, case_id=case_id, **wording.FOR_TEMPLATES)


@router.get("/api/v1/cases/{case_id}/details", responses=_NOT_FOUND, response_model=CaseSaid)
def case_details(case_id: CaseId, node: TheNode, person: Viewer) -> Response:
    """Everything that is known of one case; the patient only for whoever may see patients."""
    return _json(_said(node, person, _seen(node, person, case_id)).model_dump_json())


@router.get("/api/v1/cases/{case_id}/standing", responses=_NOT_FOUND, response_model=CaseStanding)
def case_standing(case_id: CaseId, node: TheNode, person: Viewer) -> Response:
    """Where the case stands now; nothing of the patient."""
    folder = folder_of(case_id, node.settings)
    return _json(standing_said(node.operations.show(case_id).case, folder).model_dump_json())


@router.get("/api/v1/cases/{case_id}/densities", responses=_NOT_FOUND, response_model=Densities)
def case_densities(case_id: CaseId, node: TheNode, person: Viewer) -> Response:
    """Mean HU of lungs and lobes; takes about a second when it is asked for the first time."""
    return _json(densities(_seen_result(node, person, case_id)).model_dump_json())


@router.get("/cases/{case_id}/summary.pdf", response_class=Response, include_in_schema=False)
def summary_pdf(case_id: CaseId, node: TheNode, person: Viewer) -> Response:
    """The summary page for printing; it says whose it is to whoever may see patients."""
    folder = _seen_result(node, person, case_id)
    content = summary_pdf_of(folder, with_patient=person.may(Right.SEE_PATIENTS))
    return _file(content, "application/pdf", f"perfusion-{case_id}.pdf")


@router.get("/cases/{case_id}/summary.png", response_class=Response, include_in_schema=False)
def summary_png(case_id: CaseId, node: TheNode, person: Viewer) -> Response:
    """The same page as the picture that the node drew; it names nobody."""
    folder = _seen_result(node, person, case_id)
    if not folder.summary.exists():
        raise NoResult
    return _file(folder.summary.read_bytes(), "image/png", f"perfusion-{case_id}.png")


@router.post("/cases/{case_id}/check", include_in_schema=False)
def check_again(case_id: CaseId, node: TheNode, person: Operator) -> Response:
    """Check every object of the case once more; takes seconds."""
    folder = folder_of(case_id, node.settings)
    if not folder.result.exists() or not folder.contents.exists():
        raise NoResult
    _rechecks.run(folder)
    return RedirectResponse(f"/cases/{case_id}#objects", 303)


def _seen(node: WebNode, person: Person, case_id: str) -> CaseDetails:
    """A case that somebody is about to look at."""
    folder_of(case_id, node.settings)
    told_view(node, person, case_id)
    return node.operations.show(case_id)


def _said(node: WebNode, person: Person, details: CaseDetails) -> CaseSaid:
    folder = folder_of(details.case.case_id, node.settings)
    recheck, with_patient = _rechecks.known(folder), person.may(Right.SEE_PATIENTS)
    return case_said(details, folder, node.settings, node.audit, recheck, with_patient=with_patient)


def _seen_result(node: WebNode, person: Person, case_id: str) -> CaseFolder:
    """The folder of a case that has a result, and that somebody is about to look at."""
    folder = folder_of(case_id, node.settings)
    if not folder.result.exists():
        raise NoResult
    told_view(node, person, case_id)
    return folder


def _absent(request: Request, fault: Exception) -> Response:
    case_id, node = str(request.path_params["case_id"]), request.app.state.node
    absence = NO_RESULT if isinstance(fault, NoResult) else absence_of(case_id, node.settings)
    if request.url.path.startswith("/api/"):
        return JSONResponse(Fault(code=absence.code, message=absence.sentence).model_dump(), 404, _PRIVATE)
    person = request.state.person
    return page(request, "case_absent.html", person, status=404, case_id=case_id, absence=absence)


def _json(text: str) -> Response:
    return Response(text, media_type="application/json", headers=_PRIVATE)


def _file(content: bytes, media_type: str, name: str) -> Response:
    headers = _PRIVATE | {"Content-Disposition": f'inline; filename="{name}"'}
    return Response(content, media_type=media_type, headers=headers)
