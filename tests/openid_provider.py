"""A small OpenID provider on a real socket: everybody is let in at once, as the person whom the test wants.

It checks what the other side must do (PKCE with S256, the secret, the address to come back to), and can be told to
answer wrongly, as a broken provider or somebody in its place would.
"""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

CLIENT = "perfnode"
SECRET = "of the test"  # noqa: S105


@dataclass
class Provider:
    """The provider, and how it answers."""

    port: int = 0
    back_to: str = ""
    """The only address that it sends people back to."""
    claims: dict[str, Any] = field(default_factory=dict)
    """Of whoever signs in; those of the protocol are added unless they stand here."""
    refuses: bool = False
    signs_with_another_key: bool = False
    forgets_the_token: bool = False
    asked: list[str] = field(default_factory=list)
    """Paths that were asked for."""
    _key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "1"}, private=True))
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def configuration(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def keys(self) -> dict[str, Any]:
        return {"keys": [self._key.as_dict(private=False)]}

    def authorize(self, query: dict[str, str]) -> str | None:
        """Where the browser goes; None if the request is not as it should be."""
        wanted = {"client_id": CLIENT, "redirect_uri": self.back_to, "response_type": "code"}
        is_right = all(query.get(key) == value for key, value in wanted.items())
        if not is_right or query.get("code_challenge_method") != "S256" or "openid" not in query["scope"].split():
            return None
        if self.refuses:
            return f"{self.back_to}?{urlencode({'error': 'access_denied', 'state': query['state']})}"
        code = f"code-{len(self._codes)}"
        self._codes[code] = query
        return f"{self.back_to}?{urlencode({'code': code, 'state': query['state']})}"

    def token(self, form: dict[str, str], authorization: str) -> dict[str, Any] | None:
        """The tokens; None if the request is not as it should be."""
        asked = self._codes.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(sha256(form.get("code_verifier", "").encode()).digest()).rstrip(b"=")
        secret = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if asked is None or asked["code_challenge"] != challenge.decode() or authorization != f"Basic {secret}":
            return None
        answer = {"access_token": "x", "token_type": "Bearer", "expires_in": 60}
        return answer if self.forgets_the_token else {**answer, "id_token": self._id_token(asked)}

    def _id_token(self, asked: dict[str, str]) -> str:
        now = int(time.time())
        usual = {"iss": self.issuer, "aud": CLIENT, "sub": "1", "iat": now, "exp": now + 60, "nonce": asked["nonce"]}
        key = RSAKey.generate_key(2048, {"kid": "1"}, private=True) if self.signs_with_another_key else self._key
        return jwt.encode({"alg": "RS256", "kid": "1"}, {**usual, **self.claims}, KeySet([key]))


@contextmanager
def openid_provider(back_to: str) -> Iterator[Provider]:
    """Run a provider that sends people back to this address."""
    provider = Provider(back_to=back_to)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"provider": provider}))
    provider.port = server.server_address[1]
    serving = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    serving.start()
    try:
        yield provider
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """Speaks HTTP for the provider."""

    provider: Provider

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.provider.asked.append(url.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if url.path == "/authorize":
            target = self.provider.authorize(query)
            self._answer(303 if target else 400, {}, {"Location": target} if target else {})
        elif url.path == "/keys":
            self._answer(200, self.provider.keys())
        elif url.path == "/.well-known/openid-configuration":
            self._answer(200, self.provider.configuration())
        else:
            self._answer(404, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {key: values[0] for key, values in parse_qs(body).items()}
        tokens = self.provider.token(form, self.headers.get("Authorization", ""))
        self._answer(200 if tokens else 400, tokens or {"error": "invalid_grant"})

    def _answer(self, status: int, content: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""
