"""The page and the API of the echo board: are our destinations and peers there?"""

import threading
from dataclasses import asdict, dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from dicom_node.web.guard import Operator
from dicom_node.web.page import page
from dicom_node.web.tools.echo_board import EchoBoard, EchoState

router = APIRouter()
_making = threading.Lock()
_PAGE: Final = "/tools/echo"


@dataclass(frozen=True, slots=True)
class Asked:
    """One destination or peer, and what it last said."""

    name: str
    role: str
    service: str
    address: str
    state: EchoState
    milliseconds: float | None
    code: str
    message: str
    asked_at_s: float


@dataclass(frozen=True, slots=True)
class Board:
    """All of them."""

    is_open: bool
    """Whether answers are still to come."""
    peers: list[Asked]


def _board(request: Request) -> EchoBoard:
    state = request.app.state
    with _making:
        if not hasattr(state, "echo_board"):
            settings = state.node.settings
            state.echo_board = EchoBoard(settings.destinations, settings.peers)
    board: EchoBoard = state.echo_board
    return board


TheBoard = Annotated[EchoBoard, Depends(_board)]


def _told(board: EchoBoard) -> Board:
    lines = board.lines()
    return Board(any(line.is_open for line in lines), [Asked(**asdict(line)) for line in lines])


@router.get(_PAGE, response_class=HTMLResponse, include_in_schema=False)
def show_board(request: Request, person: Operator, board: TheBoard) -> HTMLResponse:
    """What every destination and peer last said."""
    return page(request, "tools_echo.html", person, board=_told(board))


@router.post(_PAGE, include_in_schema=False)
def ask_from_page(
    person: Operator, board: TheBoard, name: Annotated[str, Form(max_length=64)] = ""
) -> RedirectResponse:
    """Begin to ask, for a browser without scripts."""
    _ask(board, name)
    return RedirectResponse(_PAGE, 303)


@router.get("/api/v1/echo", tags=["tools"])
def read_board(person: Operator, board: TheBoard) -> Board:
    """What every destination and peer last said; asks nobody."""
    return _told(board)


@router.post("/api/v1/echo", tags=["tools"], status_code=202)
def ask_peers(person: Operator, board: TheBoard, name: Annotated[str, Query(max_length=64)] = "") -> Board:
    """Begin to ask one of them, or all; returns at once. `GET` says how far it is."""
    _ask(board, name)
    return _told(board)


def _ask(board: EchoBoard, name: str) -> None:
    try:
        board.ask(name)
    except KeyError as fault:
        raise HTTPException(404, "UNKNOWN_PEER: The site has no destination or peer of that name.") from fault
