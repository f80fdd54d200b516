"""The entrance: nothing of the page but the sign-in is answered to somebody who is not signed in.

Every request passes here before any handler. The person is put into `request.state.person`, the token for forms into
`request.state.csrf`. A request that may change something must come from a form or script of the page: it carries the
token, and the browser says, where it says anything, that the request was made by a page of ours.
"""

from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dicom_node.errors import RequestRefused
from dicom_node.settings.web_settings import WebSettings
from dicom_node.web.access.caller import address_of
from dicom_node.web.access.cookies import Cookies
from dicom_node.web.access.form_token import token_of
from dicom_node.web.access.rights import Person
from dicom_node.web.access.sessions import Session, Sessions
from dicom_node.web.access.standing import People
from dicom_node.web.fault_answers import fault_answer, not_signed_in

PUBLIC: Final = ("/static/", "/sign-in")
"""What is answered to everybody: it shows nothing of the node."""
BY_ITSELF: Final = "X-By-Itself"
"""Header by which a script of ours says that nobody has done anything: its page only lies open."""
_STREAM: Final = "text/event-stream"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Entrance:
    """Middleware that knows who asks, and turns away who may not.

    Args:
        app: what lies behind.
        settings: of the page.
        sessions: who is signed in.
        people: who may be.
        signed_in: told of each person whom a proxy announced for the first time.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: WebSettings,
        sessions: Sessions,
        people: People,
        signed_in: Callable[[Person], None],
    ) -> None:
        self._app = app
        self._settings = settings
        self._sessions = sessions
        self._people = people
        self._signed_in = signed_in
        self._cookies = Cookies(settings.is_secure)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        state, headers = scope.setdefault("state", {}), Headers(scope=scope)
        cookies = HTTPConnection(scope).cookies
        state["address"] = address_of(scope, self._settings.proxies)
        key, person, send = self._who(scope, cookies.get(self._cookies.session, ""), headers, send)
        path = scope["path"]
        if person is None:
            key = cookies.get(self._cookies.visit, "")
            if not path.startswith(PUBLIC):
                await not_signed_in(scope)(scope, receive, send)
                return
        state["person"], state["session_key"] = person, key
        state["csrf"] = self._sessions.token(key) if key else ""
        if scope["method"] not in _SAFE:
            try:
                self._check_origin(headers)
                token, receive = await token_of(scope, receive, is_known=person is not None)
                if not key or not self._sessions.is_token(token, key):
                    raise RequestRefused("the form is too old, or none of this page; load it again")
            except RequestRefused as fault:
                await fault_answer(scope, 403, fault.code, str(fault), person)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _who(self, scope: Scope, key: str, headers: Headers, send: Send) -> tuple[str, Person | None, Send]:
        """Key of the session, who is signed in, and how to answer."""
        session = self._sessions.find(key, is_use=_is_use(headers)) if key else None
        announced = self._people.announced(scope)
        standing = announced or (self._people.standing(session) if session else None)
        if session is not None and (standing is None or standing.mark != session.mark):
            self._sessions.end(key)
            session = None
        if session is None and announced is None:
            return "", None, send
        if session is None and announced is not None:
            key = self._sessions.begin(announced.name, announced.role, announced.mark)
            session = self._sessions.find(key, is_use=True)
            send = _with_cookie(send, self._cookies.set(self._cookies.session, key))
            if session is not None:
                self._signed_in(_person(session, scope))
        return (key, _person(session, scope), send) if session is not None else ("", None, send)

    def _check_origin(self, headers: Headers) -> None:
        """Refuse what a page of somebody else sends.

        Raises:
            RequestRefused: the browser says that it does.
        """
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise RequestRefused("another site asked for it")
        origin = headers.get("origin")
        ours = {headers.get("host", ""), urlsplit(self._settings.public_url).netloc}
        if origin is not None and urlsplit(origin).netloc not in ours - {""}:
            raise RequestRefused("another site asked for it")


def _is_use(headers: Headers) -> bool:
    """Whether a person does something, which keeps them signed in.

    An `EventSource` can carry no header of ours; it is known by what it accepts, which is its stream and nothing else.
    """
    return BY_ITSELF not in headers and headers.get("accept") != _STREAM


def _person(session: Session, scope: Scope) -> Person:
    return Person(session.name, session.role, scope["state"]["address"], session.number)


def _with_cookie(send: Send, cookie: str) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), (b"set-cookie", cookie.encode("latin-1"))]
        await send(message)

    return sending
