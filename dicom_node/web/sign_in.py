"""Sign in and out: the form of local accounts, the way to an OpenID provider and back."""

import re
import secrets
import time
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from dicom_node.audit.people import AtPage
from dicom_node.audit.trail import AuditTrail
from dicom_node.errors import ProviderAway, SignInRefused, SignInTooOften
from dicom_node.settings.web_settings import WebSettings
from dicom_node.web.access.accounts import Accounts
from dicom_node.web.access.cookies import Cookies
from dicom_node.web.access.openid import DONE, OpenIdSignIn
from dicom_node.web.access.passwords import fits
from dicom_node.web.access.people import people_of
from dicom_node.web.access.sessions import SessionLimits, Sessions
from dicom_node.web.access.standing import People, Standing
from dicom_node.web.access.throttle import SignInThrottle
from dicom_node.web.page import page

SIGN_OUT: Final = "/sign-out"
_WRONG: Final = "Name and password do not fit."
_VISIT_S: Final = 86_400
_PATH: Final = re.compile(r"/(?![/\\])[!-\[\]-~]*")
"""A path of this page: not the address of another host, no backslash, no spaces or control characters."""

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class SignInDesk:
    """What the sign-in needs, one for the application."""

    settings: WebSettings
    accounts: Accounts
    people: People
    sessions: Sessions
    throttle: SignInThrottle
    openid: OpenIdSignIn | None
    audit: AuditTrail

    @property
    def cookies(self) -> Cookies:
        """Ours."""
        return Cookies(self.settings.is_secure)

    def is_still_here(self, key: str) -> bool:
        """Whether the session of a key goes on, with the account as it was."""
        session = self.sessions.find(key, is_use=False)
        if session is None or self.settings.sign_in == "proxy":
            return session is not None
        standing = self.people.standing(session)
        return standing is not None and standing.mark == session.mark


def sign_in_desk(
    settings: WebSettings, accounts: Accounts, audit: AuditTrail, people: People | None = None
) -> SignInDesk:
    """The parts of the sign-in, wired."""
    return SignInDesk(
        settings=settings,
        accounts=accounts,
        people=people or people_of(settings, accounts),
        sessions=Sessions(SessionLimits(settings.session_idle_s, settings.session_s), time.monotonic),
        throttle=SignInThrottle(time.monotonic),
        openid=OpenIdSignIn(settings, time.monotonic) if settings.sign_in == "openid" else None,
        audit=audit,
    )


def safe_path(text: str) -> str:
    """The path to go to after the sign-in: one of this page, whatever was asked for."""
    return text if _PATH.fullmatch(text) and not text.startswith(("/sign-in", SIGN_OUT)) else "/"


@router.get("/sign-in")
def form(request: Request, next: str = "/") -> Response:  # as it stands in addresses
    """The page to sign in at; who is signed in goes on."""
    if request.state.person is not None:
        return RedirectResponse(safe_path(next), 303)
    return _form(request, _desk(request), safe_path(next))


@router.post("/sign-in")
def sign_in(
    request: Request,
    name: Annotated[str, Form(max_length=128)] = "",
    password: Annotated[str, Form(max_length=1024)] = "",
    next: Annotated[str, Form(max_length=2048)] = "/",
) -> Response:
    """Look at name and password of a local account."""
    desk, address, after = _desk(request), request.state.address, safe_path(next)
    if desk.settings.sign_in != "accounts":
        return _form(request, desk, after, 404)
    account = desk.accounts.get(name)
    who = AtPage(account.name if account else "", address)
    try:
        desk.throttle.begin(name, address)
    except SignInTooOften as fault:
        if desk.throttle.is_news(name, address):
            desk.audit.sign_in_refused(who, fault.code)
        return _form(request, desk, after, 429, str(fault), retry_after_s=fault.wait_s)
    if not fits(password, account.password_hash if account else None) or account is None:
        desk.audit.sign_in_refused(who, SignInRefused.code)
        return _form(request, desk, after, 401, _WRONG)
    desk.throttle.succeeded(name, address)
    answer = RedirectResponse(after, 303)
    _begin(request, desk, Standing(account.name, account.role, account.mark), answer)
    return answer


@router.post(SIGN_OUT)
def sign_out(request: Request) -> Response:
    """End the session of this browser."""
    desk, person = _desk(request), request.state.person
    answer = RedirectResponse("/sign-in", 303)
    if person is not None:
        desk.sessions.end(request.state.session_key)
        desk.audit.signed_out(AtPage(person.name, person.address))
    answer.headers.append("set-cookie", desk.cookies.set(desk.cookies.session, "", age_s=0))
    return answer


@router.get("/sign-in/openid")
async def to_provider(request: Request, next: str = "/") -> Response:
    """Send somebody to the OpenID provider."""
    desk, after = _desk(request), safe_path(next)
    if desk.openid is None:
        return _form(request, desk, after, 404)
    try:
        answer, key = await desk.openid.begin(request, after)
    except ProviderAway as fault:
        return _form(request, desk, after, 503, str(fault))
    # Lax, because the browser comes back from another site.
    answer.headers.append("set-cookie", desk.cookies.set(desk.cookies.openid, key, same_site="Lax", age_s=600))
    return answer


@router.get(DONE)
async def from_provider(request: Request) -> Response:
    """Take in somebody who comes back from the OpenID provider."""
    desk = _desk(request)
    if desk.openid is None:
        return _form(request, desk, "/", 404)
    try:
        standing, after = await desk.openid.done(request, request.cookies.get(desk.cookies.openid, ""))
    except (SignInRefused, ProviderAway) as fault:
        desk.audit.sign_in_refused(AtPage("", request.state.address), fault.code)
        return _form(request, desk, "/", 401 if isinstance(fault, SignInRefused) else 503, str(fault))
    # A page and no redirection: after one from another site, browsers would keep the strict cookie back once more.
    answer = page(request, "signed_in.html", None, next=safe_path(after))
    answer.headers.append("set-cookie", desk.cookies.set(desk.cookies.openid, "", same_site="Lax", age_s=0))
    _begin(request, desk, standing, answer)
    return answer


def _begin(request: Request, desk: SignInDesk, standing: Standing, answer: Response) -> None:
    """A session with a key of its own, whatever key the browser held before."""
    if request.state.person is not None:
        desk.sessions.end(request.state.session_key)
    key = desk.sessions.begin(standing.name, standing.role, standing.mark)
    answer.headers.append("set-cookie", desk.cookies.set(desk.cookies.session, key))
    desk.audit.signed_in(AtPage(standing.name, request.state.address), f"as {standing.role}")


def _form(
    request: Request, desk: SignInDesk, after: str, status: int = 200, problem: str = "", retry_after_s: float = 0.0
) -> Response:
    key, is_new = request.state.session_key, False
    if not key or request.state.person is not None:
        key, is_new = secrets.token_urlsafe(32), True
    request.state.csrf = desk.sessions.token(key)
    answer = page(request, "sign_in.html", None, status=status, way=desk.settings.sign_in, next=after, problem=problem)
    if is_new:
        answer.headers.append("set-cookie", desk.cookies.set(desk.cookies.visit, key, age_s=_VISIT_S))
    if retry_after_s:
        answer.headers["Retry-After"] = str(max(1, round(retry_after_s)))
    return answer


def _desk(request: Request) -> SignInDesk:
    desk: SignInDesk = request.app.state.sign_in
    return desk
