"""`DicomwebPeer`: an archive that speaks DICOMweb, as configured. Apart from the client, so that it costs no import."""

from dataclasses import dataclass
from pathlib import Path

from dicom_node.network.verification_mode import Verify


@dataclass(frozen=True, slots=True)
class DicomwebPeer:
    """A DICOMweb service that we send to, ask and fetch from.

    Secrets stand in files of their own, read anew for every session, so a token can be changed while the node runs.
    """

    name: str
    """The site's name for it, for instance `cloud`."""
    url: str
    """Where the service begins: `/studies` is added to it. Without a slash at the end."""
    token_file: Path | None = None
    """Holds a bearer token (RFC 6750)."""
    password_file: Path | None = None
    """Holds `user:password` for basic authentication (RFC 7617)."""
    headers_file: Path | None = None
    """Holds further header lines, `Name: value`, for instance a key that a gateway asks for."""
    trusted: Path | None = None
    """PEM file of the authorities accepted for `https`; `None`: the public ones. The host name is always checked."""
    certificate: Path | None = None
    """Our certificate, PEM, with `key`; `None`: none is shown."""
    key: Path | None = None
    connect_timeout_s: float = 10.0
    response_timeout_s: float = 120.0
    """Longest silence; an archive may answer a large upload late."""
    retrieve_timeout_s: float = 600.0
    """For the first and for every further instance of a retrieval."""
    verify: Verify = Verify.AUTO
    """Whether QIDO-RS is asked for what was stored; there is no commitment on the web."""
    maximum_request_bytes: int = 64 << 20
    """Objects of one delivery go in requests of this size at most; a larger object goes alone."""

    @property
    def address(self) -> str:
        """The same as `url`, named as for a peer that speaks DIMSE."""
        return self.url
