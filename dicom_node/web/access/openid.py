"""Sign-in at an OpenID provider: authorization code with PKCE, state and nonce, by Authlib (OpenID Connect Core 3.1).

What belongs to one way to the provider and back (state, nonce, code verifier) is kept here under a key that the browser
holds in a cookie, for ten minutes and for one answer.
"""

import secrets
import threading
from collections.abc import Callable
from typing import Any, Final

import httpx2
import structlog
from authlib.integrations.base_client import OAuthError
from authlib.integrations.starlette_client import OAuth
from authlib.integrations.starlette_client.apps import StarletteOAuth2App
from joserfc.errors import JoseError
from starlette.requests import Request
from starlette.responses import Response

from dicom_node.errors import ProviderAway, SignInRefused
from dicom_node.settings.web_settings import OpenIdSettings, WebSettings
from dicom_node.web.access.people import standing_of
from dicom_node.web.access.standing import Standing

DONE: Final = "/sign-in/openid/done"
"""Where the provider sends people back to."""
WAY_S: Final = 600.0
_MOST: Final = 1000
_TIMEOUT_S: Final = 10.0

log = structlog.get_logger()


class OpenIdSignIn:
    """The ways of people to the provider and back; safe to use from several threads.

    Args:
        settings: of the page, with an OpenID provider.
        clock: monotonic time in seconds.
    """

    def __init__(self, settings: WebSettings, clock: Callable[[], float]) -> None:
        assert settings.openid is not None  # noqa: S101  # the settings are checked
        self._settings = settings
        self._openid = settings.openid
        self._clock = clock
        self._lock = threading.Lock()
        self._ways: dict[str, tuple[float, dict[str, Any]]] = {}

    async def begin(self, request: Request, after: str) -> tuple[Response, str]:
        """Send somebody to the provider; the answer, and a key for their cookie.

        Args:
            request: theirs.
            after: path of the page that they want to see afterwards.

        Raises:
            ProviderAway: it does not say where it is.
        """
        way: dict[str, Any] = {}
        request.scope["session"] = way  # Authlib keeps there what belongs to this way
        try:
            answer = await self._client().authorize_redirect(request, f"{self._settings.public_url}{DONE}")
        except (httpx2.HTTPError, ValueError, KeyError, RuntimeError) as fault:
            log.warning("openid_provider_away", code=ProviderAway.code, kind=type(fault).__name__)
            raise ProviderAway from fault
        way["after"] = after
        key = secrets.token_urlsafe(32)
        with self._lock:
            self._ways[key] = self._clock(), way
            while len(self._ways) > _MOST:
                del self._ways[next(iter(self._ways))]
        return answer, key

    async def done(self, request: Request, key: str) -> tuple[Standing, str]:
        """Who came back from the provider, and the path that they wanted to see.

        Args:
            request: theirs, with what the provider said.
            key: of their cookie.

        Raises:
            SignInRefused: the answer is not to a way that began here, or the person has no role.
            ProviderAway: it does not answer.
        """
        with self._lock:
            began_s, way = self._ways.pop(key, (-WAY_S, {}))
        if self._clock() - began_s >= WAY_S:
            raise SignInRefused("The sign-in took too long, or began elsewhere. Begin it again.")
        after = str(way.pop("after"))
        request.scope["session"] = way
        claims = await self._claims(request)
        groups = claims.get(self._openid.groups_claim, [])
        names = [str(group) for group in groups] if isinstance(groups, list) else [str(groups)]
        standing = standing_of(str(claims.get(self._openid.name_claim, "")), names, self._settings.groups)
        if standing is None:
            raise SignInRefused("You are known to the directory, and have no role at this node.")
        return standing, after

    async def _claims(self, request: Request) -> dict[str, Any]:
        if not request.query_params.get("state") or not request.query_params.get("code"):
            raise SignInRefused("The provider did not let you in.")
        try:
            token = await self._client().authorize_access_token(request)
        except httpx2.HTTPError as fault:
            log.warning("openid_provider_away", code=ProviderAway.code, kind=type(fault).__name__)
            raise ProviderAway from fault
        except (OAuthError, JoseError, ValueError, KeyError, TypeError, RuntimeError) as fault:
            log.warning("openid_answer_refused", code=SignInRefused.code, kind=type(fault).__name__)
            raise SignInRefused("What the provider said cannot be believed. Begin the sign-in again.") from fault
        claims = token.get("userinfo")
        if claims is None:
            raise SignInRefused("The provider did not say who you are.")
        return dict(claims)

    def _client(self) -> StarletteOAuth2App:
        """Made anew, so that a new secret, new keys or another address of the provider need no restart."""
        openid = self._openid
        registry = OAuth()
        registry.register(
            "provider",
            client_id=openid.client_id,
            client_secret=_secret(openid),
            server_metadata_url=f"{openid.issuer}/.well-known/openid-configuration",
            client_kwargs={
                "scope": " ".join(openid.scopes),
                "code_challenge_method": "S256",
                "timeout": _TIMEOUT_S,
                "verify": str(openid.trusted) if openid.trusted else True,
                **({} if openid.client_secret_file else {"token_endpoint_auth_method": "none"}),
            },
        )
        client: StarletteOAuth2App = registry.create_client("provider")
        return client


def _secret(openid: OpenIdSettings) -> str | None:
    if openid.client_secret_file is None:
        return None
    return openid.client_secret_file.read_text(encoding="utf-8").partition("\n")[0].strip()
