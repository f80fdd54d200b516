"""Fetching published weights from the internet, for `perfnode models fetch` and for nothing else.

No stage of a case and no service imports this file. A proxy is taken from the environment (`https_proxy`), and so is
the certificate of a hospital's own authority (`REQUESTS_CA_BUNDLE`); certificates are always checked.
"""

import tempfile
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

import requests

from dicom_node.errors import DownloadFailed
from inference.errors import ModelStoreUnwritable
from inference.weights.model_store import ModelStore, StoredModel
from inference.weights.published_weights import PublishedWeights

Progress = Callable[[int, int | None], None]
"""Told the bytes that are here, and how many there will be if the server says so."""

LARGEST_BYTES = 1 << 30
"""More than any of the known files has; a server that sends without end does not fill the disk."""

_CONNECT_S = 15.0
_CHUNK = 1 << 18


def fetch(
    store: ModelStore, weights: PublishedWeights, url: str, *, silence_s: float, progress: Progress
) -> StoredModel:
    """Fetch weights, check them as an import does, and store them.

    What comes is kept in a file without a name until it is checked, so nothing is left of a download that fails.

    Args:
        store: where they go.
        weights: what they should be.
        url: the published address, or that of a mirror.
        silence_s: longest time that the server may send nothing.
        progress: told after every chunk.

    Raises:
        DownloadFailed: the server cannot be reached, refuses, breaks off or falls silent; nothing was stored.
        WeightsDigestMismatch: what it sent is not the published file; nothing was stored.
        UnusableWeights: what it sent is not the network that it should be; nothing was stored.
        ModelStoreUnwritable: the folder cannot be written, or the disk is full.
    """
    try:
        store.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=store.folder) as file:
            try:
                _download(url, file.write, silence_s, progress)
            except requests.RequestException as fault:
                raise DownloadFailed(shown(url), _reason(fault, silence_s), weights.by_hand()) from fault
            file.seek(0)
            return store.import_stream(weights.name, file, shown(url))
    except OSError as fault:
        raise ModelStoreUnwritable(str(store.folder), fault.strerror or type(fault).__name__) from fault


def shown(url: str) -> str:
    """An address without user, password and query, which may be secrets."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return urlunsplit((parts.scheme, f"{host}:{parts.port}" if parts.port else host, parts.path, "", ""))


class _Refused(requests.RequestException):
    """We do not want what the server sends."""


def _download(url: str, write: Callable[[bytes], object], silence_s: float, progress: Progress) -> None:
    headers = {"Accept-Encoding": "identity"}
    with requests.get(url, stream=True, timeout=(_CONNECT_S, silence_s), headers=headers) as answer:
        answer.raise_for_status()
        if url.startswith("https:") and not answer.url.startswith("https:"):
            raise _Refused("it leads to an address without TLS")
        length = answer.headers.get("Content-Length", "")
        expected = int(length) if length.isdecimal() else None
        here = 0
        for chunk in answer.iter_content(_CHUNK):
            here += len(chunk)
            if here > LARGEST_BYTES:
                raise _Refused(f"the server sends more than {LARGEST_BYTES >> 20} MB")
            write(chunk)
            progress(here, expected)


def _reason(fault: requests.RequestException, silence_s: float) -> str:
    """What happened, in words; the text of the library names addresses of its objects."""
    if isinstance(fault, _Refused):
        return str(fault)
    if isinstance(fault, requests.HTTPError):
        return f"the server answered with status {fault.response.status_code if fault.response is not None else 0}"
    if isinstance(fault, requests.exceptions.SSLError):
        return "the certificate of the server is not trusted (REQUESTS_CA_BUNDLE names that of your own authority)"
    if isinstance(fault, requests.exceptions.ProxyError):
        return "the proxy cannot be used"
    if isinstance(fault, requests.Timeout) or "timed out" in str(fault):
        return f"the server said nothing for {silence_s:g} s"
    if isinstance(fault, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off before the end"
    if isinstance(fault, requests.ConnectionError):
        return "there is no connection to the server"
    return f"the address cannot be used ({type(fault).__name__})"
