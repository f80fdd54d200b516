"""One HTTP session with a DICOMweb service: who we are, whom we trust, and how long and how much we take from it.

Redirects are not followed (they would carry what identifies a patient elsewhere), environment variables and `.netrc`
are not read, and no answer is taken in faster or larger than the limits here say.
"""

import logging
import time
from collections.abc import Iterator
from typing import Any, Final

import requests
import urllib3

from dicom_node.errors import DeliveryInterrupted, PeerUnreachable
from dicom_node.network.web_peer import DicomwebPeer

MAXIMUM_ANSWER_BYTES: Final = 64 << 20
"""Of an answer that is read as a whole: 20,000 instances in DICOM JSON have about 20 MB."""
ANSWER_DEADLINE_S: Final = 600.0
FAULTS: Final = (requests.RequestException, urllib3.exceptions.HTTPError)
"""All that can go wrong on the way. Their texts hold URLs, so they are never shown."""

_PIECE: Final = 1 << 16
_TRANSIENT: Final = frozenset({408, 425, 429, 502, 503, 504})
_NOT_AUTHORISED: Final = frozenset({401, 403, 407})


class WebSession(requests.Session):
    """A session that is bounded in time and size; a context manager.

    Args:
        peer: The service.

    Raises:
        PeerUnreachable: A file with its credentials cannot be read.
    """

    def __init__(self, peer: DicomwebPeer) -> None:
        super().__init__()
        _silence_libraries()
        self.trust_env = False
        self.verify = str(peer.trusted) if peer.trusted else True
        if peer.certificate and peer.key:
            self.cert = (str(peer.certificate), str(peer.key))
        self.headers.update({"User-Agent": "PERFUSION_NODE", "Accept-Encoding": "identity"})
        self.headers["Connection"] = "close"  # urllib3 closes a kept one only when nothing refers to it any more
        try:
            self.headers.update(_credentials(peer))
            self.auth = _user(peer)
        except (OSError, UnicodeDecodeError) as fault:
            raise PeerUnreachable(peer.url, "the file with its credentials cannot be read") from fault

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request; unless the answer is to be streamed, read it within the limits."""
        streamed = options.get("stream", False)
        response = super().send(request, **{**options, "stream": True, "allow_redirects": False})
        if not streamed:
            with response:
                # requests knows no limit of its own; this is where it keeps what it has read
                response._content = b"".join(pieces(response, MAXIMUM_ANSWER_BYTES, ANSWER_DEADLINE_S))
            response._content_consumed = True
            self.close()  # forget the connection: a service may close it without saying so, just when it is used again
            if response.is_redirect and request.method == "GET":  # an answer without content to those who ask
                raise requests.HTTPError("a redirect is not followed", response=response)
        return response


def pieces(response: requests.Response, maximum_bytes: int | None, deadline_s: float) -> Iterator[bytes]:
    """The body as it comes.

    Raises:
        requests.RequestException: It is too large, or not over in time.
    """
    deadline, total = time.monotonic() + deadline_s, 0
    while piece := response.raw.read1(_PIECE, decode_content=True):
        total += len(piece)
        if maximum_bytes is not None and total > maximum_bytes:
            raise requests.RequestException("the answer is too large")
        if time.monotonic() > deadline:
            raise requests.Timeout("the answer takes too long")
        yield piece


def dimse_status(http_status: int) -> int:
    """The DIMSE status that says the same as an HTTP status of a failure.

    0124 not authorised, 0110 for a failure inside the service, and for all that sending again cannot change Cxxx with
    the digits of the HTTP status: C413 is "content too large", C415 "unsupported media type".
    """
    if http_status in _NOT_AUTHORISED:
        return 0x0124
    if http_status >= 500 or http_status == 409:
        return 0x0110
    return 0xC000 | int(str(http_status)[:3], 16)


def check_available(response: requests.Response, peer: DicomwebPeer) -> None:
    """Tell a service that cannot work just now from one that refuses.

    Raises:
        PeerUnreachable: It is overloaded or down behind its gateway.
    """
    if response.status_code in _TRANSIENT:
        raise PeerUnreachable(peer.url, f"it answered HTTP {response.status_code}")


def network_error(fault: Exception, peer: DicomwebPeer, sent_bytes: int = 0) -> PeerUnreachable | DeliveryInterrupted:
    """What a failed exchange means: nothing was sent, or it is unknown what became of it."""
    before = isinstance(fault, (requests.ConnectTimeout, requests.exceptions.SSLError)) or sent_bytes == 0
    if isinstance(fault, requests.exceptions.SSLError):
        reason = "the TLS handshake failed"
    elif isinstance(fault, (requests.Timeout, urllib3.exceptions.ReadTimeoutError)):
        reason = "it did not answer in time"
    elif isinstance(fault, requests.ConnectionError):
        reason = "no connection, or it was lost"
    else:
        reason = f"the exchange failed ({type(fault).__name__})"
    return PeerUnreachable(peer.url, reason) if before else DeliveryInterrupted(peer.url, reason)


def _credentials(peer: DicomwebPeer) -> dict[str, str]:
    headers = {}
    if peer.headers_file:
        for line in peer.headers_file.read_text("ascii").splitlines():
            name, colon, value = line.partition(":")
            if colon and name.strip() and not line.startswith("#"):
                headers[name.strip()] = value.strip()
    if peer.token_file:
        headers["Authorization"] = f"Bearer {peer.token_file.read_text('ascii').strip()}"
    return headers


def _user(peer: DicomwebPeer) -> tuple[str, str] | None:
    if peer.password_file is None:
        return None
    user, _, password = peer.password_file.read_text("utf-8").strip().partition(":")
    return user, password


def _silence_libraries() -> None:
    for library in ("dicomweb_client", "urllib3"):  # both write URLs, which name studies and patients
        logging.getLogger(library).setLevel(logging.CRITICAL + 1)
