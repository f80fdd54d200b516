"""The JSON API of cases and of the node."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse, Response

from dicom_node.web.access.rights import Right
from dicom_node.web.fault_answers import Fault
from dicom_node.web.guard import Viewer
from dicom_node.web.node import TheNode
from dicom_node.web.today.answers import CaseAnswer, CasesAnswer, NodeAnswer
from dicom_node.web.today.case_filter import CaseFilter
from dicom_node.web.today.case_search import BadCursor, find_cases
from dicom_node.web.today.today import TheToday
from dicom_node.web.viewing import told_list, told_view

router = APIRouter(prefix="/api/v1", tags=["today"])
_BAD_CURSOR: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": Fault, "description": "BAD_CURSOR: the cursor is none that a page of cases ended with."}
}
_NO_CASE: Final[dict[int | str, dict[str, Any]]] = {
    404: {"model": Fault, "description": "UNKNOWN_CASE: there is no case of this id."}
}


@router.get("/cases", response_model=CasesAnswer, responses=_BAD_CURSOR)
def cases(wanted: Annotated[CaseFilter, Query()], person: Viewer, today: TheToday, node: TheNode) -> Response:
    """The cases that fit, the newest first, some at a time; patients only for whoever may see them."""
    if wanted.is_refused_to(person):
        return refused(403, "NOT_ALLOWED", "Your role does not show who patients are, so it cannot look for them.")
    query = wanted.query(person)
    try:
        found = find_cases(today.index, query, limit=wanted.limit, cursor=wanted.cursor)
    except BadCursor as fault:
        return refused(400, "BAD_CURSOR", str(fault))
    told_list(node, person, {line.case_id: line.subject.patient_id for line in found.lines})
    shown = [today.answer_of(line, sees_patients=query.sees_patients) for line in found.lines]
    return _json(CasesAnswer(cases=shown, next_cursor=found.next_cursor, matching=found.matching))


@router.get("/cases/{case_id}", response_model=CaseAnswer, responses=_NO_CASE)
def case(
    case_id: Annotated[str, Path(description="Id of a case, whole.")], person: Viewer, today: TheToday, node: TheNode
) -> Response:
    """One case as the list has it; `/api/v1/cases/{case_id}/details` has more."""
    line = today.index.line(case_id)
    if line is None:
        return refused(404, "UNKNOWN_CASE", "There is no case of this id.")
    told_view(node, person, case_id)
    return _json(today.answer_of(line, sees_patients=person.may(Right.SEE_PATIENTS)))


@router.get("/node", response_model=NodeAnswer)
def node_now(person: Viewer, today: TheToday) -> Response:
    """How the node is, as seen some seconds ago; asking costs nothing and calls nobody."""
    return _json(today.node())


def refused(status: int, code: str, message: str) -> JSONResponse:
    """The answer to a question that is not answered."""
    return JSONResponse(Fault(code=code, message=message).model_dump(), status)


def _json(answer: CasesAnswer | CaseAnswer | NodeAnswer) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json", headers={"Cache-Control": "no-store"})
