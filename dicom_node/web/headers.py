"""What every answer of the page carries, and the last net: a fault of our own code becomes a calm answer.

The policy allows what the page itself serves and nothing else: no inline script or style, no other host, no frame
around it. Pictures may also be `data:` and `blob:`, which the viewer makes in the browser.
"""

from typing import Final

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dicom_node.web.fault_answers import inside_fault

POLICY: Final = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with "no-referrer" a browser hides also where a form of ours comes from
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_HSTS: Final = "max-age=31536000"

log = structlog.get_logger()


class StrictHeaders:
    """Middleware around all others.

    Args:
        app: what lies within.
        is_secure: whether browsers reach the page by TLS.
    """

    def __init__(self, app: ASGIApp, is_secure: bool) -> None:
        self._app = app
        self._is_secure = is_secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def sending(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                self._complete(scope, MutableHeaders(scope=message))
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception:
            log.error("page_failed", code="PAGE_FAILED", method=scope["method"], exc_info=True)
            if has_begun:
                raise
            await inside_fault(scope)(scope, receive, sending)

    def _complete(self, scope: Scope, headers: MutableHeaders) -> None:
        for name, value in HEADERS.items():
            headers[name] = value
        if self._is_secure:
            headers["Strict-Transport-Security"] = _HSTS
        if scope["path"].startswith("/static/"):
            headers["Cache-Control"] = "no-cache"  # asked for each time, sent only when it has changed
        else:
            headers.setdefault("Cache-Control", "no-store")
