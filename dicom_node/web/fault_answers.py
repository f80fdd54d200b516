"""What is answered when something is not as it should be: a calm page, or JSON `{code, message}` below `/api`.

No answer holds a trace, the text of a foreign error, or what the request said.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import Scope

from dicom_node.errors import (
    CaseChanged,
    ConfigurationError,
    NeverStarted,
    NodeError,
    NothingHeld,
    ProviderAway,
    RequestRefused,
    SeriesNotComplete,
    SignInRefused,
    SignInTooOften,
    UnknownAccount,
    UnknownCase,
    UnknownDestination,
    UnknownSeries,
)
from dicom_node.web.access.rights import Person
from dicom_node.web.guard import NotSignedIn
from dicom_node.web.page import page_text

STATUSES: Final[Mapping[type[NodeError], int]] = {
    SignInRefused: 401,
    RequestRefused: 403,
    UnknownCase: 404,
    UnknownSeries: 404,
    UnknownDestination: 404,
    UnknownAccount: 404,
    NothingHeld: 409,
    CaseChanged: 409,
    SeriesNotComplete: 409,
    SignInTooOften: 429,
    ConfigurationError: 500,
    ProviderAway: 503,
    NeverStarted: 503,
}
"""Of HTTP; a permanent error that is not here is one of the request (422), any other passes (503)."""

TITLES: Final[Mapping[int, str]] = {
    400: "That cannot be answered",
    401: "Please sign in",
    403: "Not allowed",
    404: "Not found",
    405: "Not possible here",
    409: "It has changed",
    413: "Too large",
    422: "That does not fit",
    429: "A moment, please",
    500: "Something went wrong",
    503: "Not now",
}
_CODES: Final[Mapping[int, tuple[str, str]]] = {
    400: ("BAD_REQUEST", "The request cannot be read."),
    403: ("NOT_ALLOWED", "Your role does not include this."),
    404: ("NOT_FOUND", "There is nothing at this address."),
    405: ("METHOD_NOT_ALLOWED", "This address does not take such a request."),
    413: ("TOO_LARGE", "The request is too large."),
    422: ("INVALID_REQUEST", "A value of the request does not fit."),
}
_INSIDE: Final = ("PAGE_FAILED", "The page has failed; the log of the node says where. Nothing else is affected.")
_SAID: Final = re.compile(r"([A-Z][A-Z0-9_]{2,60}): (.+)", re.DOTALL)
_PART: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")


class Fault(BaseModel):
    """Why a request was not done."""

    model_config = ConfigDict(frozen=True)

    code: str
    """Stable, for programs."""
    message: str
    """For people."""


RESPONSES: Final[dict[int | str, dict[str, object]]] = {
    status: {"model": Fault, "description": TITLES[status]}
    for status in (400, 401, 403, 404, 405, 409, 413, 422, 429, 500, 503)
}
"""What every part of the JSON API may answer besides its own."""


def status_of(fault: NodeError) -> int:
    """The status of HTTP for one of our errors."""
    for kind in type(fault).__mro__:
        if kind in STATUSES:
            return STATUSES[kind]
    return 422 if fault.permanent else 503


def fault_answer(
    scope: Scope,
    status: int,
    code: str,
    message: str,
    person: Person | None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The answer to a request that was not done.

    Args:
        scope: of the request.
        status: of HTTP.
        code: for programs.
        message: for people; holds nothing of the request.
        person: who is signed in.
        headers: to be sent with it.
    """
    if is_api(scope):
        return JSONResponse({"code": code, "message": message}, status, dict(headers or {}))
    title = TITLES.get(status, "Something went wrong")
    text = page_text(Request(scope), "fault.html", person, title=title, code=code, message=message)
    return Response(text, status, dict(headers or {}), "text/html")


def not_signed_in(scope: Scope) -> Response:
    """Where somebody goes who must sign in first, or 401 for a program."""
    if is_api(scope):
        return fault_answer(scope, 401, "NOT_SIGNED_IN", "Nobody is signed in, or the session has expired.", None)
    asked = scope["path"] + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
    # Back to a page that was looked at; a form that was sent would be sent without what it said.
    after = f"?next={quote(asked, safe='')}" if scope["method"] == "GET" and asked != "/" else ""
    return RedirectResponse(f"/sign-in{after}", 303)


def inside_fault(scope: Scope) -> Response:
    """The answer when our own code has failed."""
    return fault_answer(scope, 500, *_INSIDE, scope.get("state", {}).get("person"))


def is_api(scope: Scope) -> bool:
    """Whether a program asks, which reads JSON."""
    return bool(scope["path"].startswith("/api/"))


def answer_faults(app: FastAPI) -> None:
    """Let an application answer all faults in this way."""
    app.add_exception_handler(NodeError, _of_node)
    app.add_exception_handler(NotSignedIn, _of_nobody)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_values)


def _of_node(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, NodeError)  # noqa: S101  # registered for it alone
    headers = {"Retry-After": str(max(1, round(fault.wait_s)))} if isinstance(fault, SignInTooOften) else None
    status = status_of(fault)
    code, message = (_INSIDE[0], _INSIDE[1]) if status == 500 else (fault.code, str(fault))
    return fault_answer(request.scope, status, code, message, _person(request), headers)


def _of_nobody(request: Request, fault: Exception) -> Response:
    return not_signed_in(request.scope)


def _of_http(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)  # noqa: S101
    said = _SAID.fullmatch(str(fault.detail))
    code, message = (said[1], said[2]) if said else _CODES.get(fault.status_code, _CODES[400])
    return fault_answer(request.scope, fault.status_code, code, message, _person(request), fault.headers)


def _of_values(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, RequestValidationError)  # noqa: S101
    where = {".".join(str(part) for part in error["loc"] if _PART.fullmatch(str(part))) for error in fault.errors()}
    message = f"{_CODES[422][1]} Look at {', '.join(sorted(where)[:10])}."
    return fault_answer(request.scope, 422, _CODES[422][0], message, _person(request))


def _person(request: Request) -> Person | None:
    person: Person | None = getattr(request.state, "person", None)
    return person
