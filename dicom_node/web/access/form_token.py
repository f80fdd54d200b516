"""The token that a request carries against forgery: in a header from scripts, in a hidden field from forms."""

from collections import deque
from collections.abc import AsyncGenerator
from typing import Final

from starlette.datastructures import Headers
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.types import Message, Receive, Scope

from dicom_node.errors import RequestRefused

FIELD: Final = "csrf"
HEADER: Final = "x-csrf-token"
LARGEST_FORM: Final = 1 << 20
"""Bytes of a form without the header; larger ones, with files, come from scripts, which send it."""


async def token_of(scope: Scope, receive: Receive, *, is_known: bool) -> tuple[str, Receive]:
    """The token of a request, and how its body can be read afterwards; empty if it has none.

    Args:
        scope: of the request.
        receive: gives its body.
        is_known: whether somebody is signed in. Strangers have no scripts, and nothing large to say.

    Raises:
        RequestRefused: it is a form that is too large or broken.
    """
    headers = Headers(scope=scope)
    if is_known and (given := headers.get(HEADER)) is not None:
        return given, receive
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/x-www-form-urlencoded", "multipart/form-data"):
        return "", receive
    body = await _body(receive)
    return await _field(headers, kind, body), _again(body, receive)


async def _body(receive: Receive) -> bytes:
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestRefused("the form did not come whole")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > LARGEST_FORM:
            raise RequestRefused("the form is too large")
        more = message.get("more_body", False)
    return b"".join(chunks)


async def _field(headers: Headers, kind: str, body: bytes) -> str:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body
        yield b""

    try:
        if kind == "multipart/form-data":
            form = await MultiPartParser(headers, stream()).parse()
        else:
            form = await FormParser(headers, stream()).parse()
    except (MultiPartException, KeyError, UnicodeDecodeError) as fault:
        raise RequestRefused("the form cannot be read") from fault
    try:
        value = form.get(FIELD, "")
        return value if isinstance(value, str) else ""
    finally:
        await form.close()


def _again(body: bytes, receive: Receive) -> Receive:
    waiting: deque[Message] = deque([{"type": "http.request", "body": body, "more_body": False}])

    async def receiving() -> Message:
        return waiting.popleft() if waiting else await receive()

    return receiving
