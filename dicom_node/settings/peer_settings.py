"""The tables `[[destinations]]` and `[[peers]]` of the site file → the peers that the node calls.

Both may be an application entity (`ae_title`, `host`, `port`) or a DICOMweb service (`dicomweb_url`). Secrets never
stand in the site file itself, only the names of the files that hold them.
"""

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from dicom_node.network.addresses import AeAddress
from dicom_node.network.delivery import Destination
from dicom_node.network.query import ArchivePeer
from dicom_node.network.tls import TlsSettings
from dicom_node.network.verification_mode import Verify
from dicom_node.network.web_peer import DicomwebPeer
from dicom_node.settings.site_file import CalledSection, DestinationSection, PeerSection, SiteFile


def peer_problems(site: SiteFile, base: Path) -> Iterator[str]:
    """Mistakes in both tables that no single key shows."""
    tables: Sequence[tuple[str, CalledSection]] = [
        *(("destinations", d) for d in site.destinations),
        *(("peers", p) for p in site.peers),
    ]
    names = [section.name for _, section in tables]
    for name in sorted({p.name for p in site.peers if names.count(p.name) > 1}):
        yield f"peers: the name {name} occurs twice among peers and destinations"
    for table, section in tables:
        for problem in (*_kind_problems(section), *_web_problems(section, base)):
            yield f"{table}.{section.name}.{problem}"
    for destination in site.destinations:
        if destination.verify == "commitment" and destination.dicomweb_url is not None:
            yield f"destinations.{destination.name}.verify: there is no commitment on the web; 'find' asks by QIDO-RS"
    for peer in site.peers:
        if peer.tls and site.tls is None:
            yield f"peers.{peer.name}.tls: true needs the table [tls] with our certificate"
        if (peer.retrieve == "dicomweb") != (peer.dicomweb_url is not None):
            yield f"peers.{peer.name}.retrieve: 'dicomweb' and dicomweb_url belong together"
        if (peer.folder_ae_title is None) != (peer.folder_port is None):
            yield f"peers.{peer.name}.folder_port: folder_ae_title and folder_port belong together"
        if peer.folder_ae_title is not None and peer.retrieve != "c-move":
            yield f"peers.{peer.name}.folder_ae_title: only with retrieve = 'c-move'; else nobody calls us"
        if peer.folder_port is not None and peer.folder_port == site.node.port:
            yield f"peers.{peer.name}.folder_port: that is the port of the node, which would work on what comes"
        if peer.folder_ae_title is not None and peer.folder_ae_title == site.node.ae_title:
            yield f"peers.{peer.name}.folder_ae_title: that is the node's, and the archive knows it at another port"


def destination_of(
    section: DestinationSection, calling_ae_title: str, tls: TlsSettings | None, base: Path
) -> Destination | DicomwebPeer:
    """Where objects are delivered."""
    if section.dicomweb_url is not None:
        return replace(_web_peer(section, base), verify=Verify(section.verify))
    return Destination(
        section.name,
        _address(section),
        calling_ae_title=calling_ae_title,
        tls=tls if section.tls else None,
        verify=Verify(section.verify),
    )


def peer_of(
    section: PeerSection, calling_ae_title: str, tls: TlsSettings | None, base: Path
) -> ArchivePeer | DicomwebPeer:
    """An archive that is asked and fetched from."""
    if section.dicomweb_url is not None:
        return _web_peer(section, base, section)
    return ArchivePeer(
        section.name,
        _address(section),
        calling_ae_title=calling_ae_title,
        response_timeout_s=section.response_timeout_s,
        tls=tls if section.tls else None,
        retrieve="c-move" if section.retrieve == "c-move" else "c-get",
        retrieve_timeout_s=section.retrieve_timeout_s,
        folder_ae_title=section.folder_ae_title,
        folder_port=section.folder_port,
    )


def _address(section: CalledSection) -> AeAddress:
    assert section.ae_title is not None  # noqa: S101  # for mypy; `peer_problems` has seen to all three
    assert section.host is not None  # noqa: S101
    assert section.port is not None  # noqa: S101
    return AeAddress(section.ae_title, section.host, section.port)


def _web_peer(section: CalledSection, base: Path, timeouts: PeerSection | None = None) -> DicomwebPeer:
    default = DicomwebPeer("", "")
    return DicomwebPeer(
        section.name,
        (section.dicomweb_url or "").rstrip("/"),
        token_file=section.token_file and base / section.token_file,
        password_file=section.password_file and base / section.password_file,
        headers_file=section.headers_file and base / section.headers_file,
        trusted=section.trusted and base / section.trusted,
        certificate=section.client_certificate and base / section.client_certificate,
        key=section.client_key and base / section.client_key,
        response_timeout_s=timeouts.response_timeout_s if timeouts else default.response_timeout_s,
        retrieve_timeout_s=timeouts.retrieve_timeout_s if timeouts else default.retrieve_timeout_s,
    )


def _kind_problems(section: CalledSection) -> Iterator[str]:
    dimse = {"ae_title": section.ae_title, "host": section.host, "port": section.port}
    if section.dicomweb_url is None:
        if section.web_keys():
            yield f"{section.web_keys()[0]}: only for a DICOMweb service, with dicomweb_url"
        else:
            yield from _address_problems(section)
    elif given := [key for key, value in dimse.items() if value is not None]:
        yield f"{given[0]}: not for a DICOMweb service; dicomweb_url says where it is"


def _address_problems(section: CalledSection) -> Iterator[str]:
    try:
        _address(section)
    except ValueError as fault:
        yield f"host: {fault}"


def _web_problems(section: CalledSection, base: Path) -> Iterator[str]:
    if section.dicomweb_url is None:
        return
    try:
        url = urlsplit(section.dicomweb_url)
        valid = url.scheme in ("http", "https") and url.hostname and not (url.query or url.fragment or url.username)
        _ = url.port
    except ValueError:
        valid = None
    if not valid:
        yield "dicomweb_url: not of the form https://host:port/path"
        return
    secrets = [key for key in ("token_file", "password_file", "headers_file") if getattr(section, key)]
    if secrets and url.scheme == "http" and not _is_loopback(url.hostname or ""):
        yield f"{secrets[0]}: would go over the network unencrypted; dicomweb_url must begin with https"
    if section.token_file and section.password_file:
        yield "password_file: either a token or a password"
    if (section.client_certificate is None) != (section.client_key is None):
        yield "client_key: client_certificate and client_key belong together"
    if section.tls:
        yield "tls: not for a DICOMweb service; https in dicomweb_url says it"
    for key in (*secrets, "trusted", "client_certificate", "client_key"):
        path = getattr(section, key)
        if path is not None and not (base / path).is_file():
            yield f"{key}: there is no file {path}"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
