"""What is looked at before the node opens its port, and every day while it is open: certificates, and who may call."""

import time
from ipaddress import ip_address
from typing import Final

import structlog

from dicom_node.errors import ConfigurationError
from dicom_node.network.tls import TlsSettings, days_left
from dicom_node.settings.config import NodeSettings

log = structlog.get_logger()

_DAY_S: Final = 86_400.0


def check_door(settings: NodeSettings) -> None:
    """Refuse a start with certificates that cannot work, and warn about a port that is open to everybody.

    Raises:
        ConfigurationError: a file of `[tls]` is missing, does not fit the others, is open to other users, or expired.
    """
    problems = [f"tls: {problem}" for tls in _identities(settings) for problem in tls.problems()]
    if problems:
        raise ConfigurationError(settings.source, tuple(dict.fromkeys(problems)))
    if is_open_to_everybody(settings):
        log.warning("door_open_to_everybody", code="NO_SENDERS", host=settings.receiver.host)


def is_open_to_everybody(settings: NodeSettings) -> bool:
    """Whether any host that reaches the port may send, because neither senders nor client certificates are asked for.

    A node that listens on loopback only is not open.
    """
    receiver = settings.receiver
    asks_for_certificate = receiver.tls is not None and receiver.tls.require_client_certificate
    return not (receiver.policy.senders or asks_for_certificate or _is_loopback(receiver.host))


class CertificateWatch:
    """Warns once a day of a certificate that ends within 30 days; it may also be replaced meanwhile.

    Args:
        settings: whose certificates.
    """

    def __init__(self, settings: NodeSettings) -> None:
        self._identities = _identities(settings)
        self._due_s = time.monotonic()

    def look(self) -> None:
        """Called often; looks once a day."""
        if time.monotonic() < self._due_s:
            return
        self._due_s += _DAY_S
        for certificate in {tls.certificate: tls for tls in self._identities}.values():
            if (days := days_left(certificate)) is not None:
                tell = log.error if days < 0 else log.warning
                tell("certificate_ends", code="CERTIFICATE_ENDS", days=days, file=certificate.certificate.name)


def _identities(settings: NodeSettings) -> list[TlsSettings]:
    """All that this site uses; the syslog server may have another authority than the peers."""
    found = [settings.tls, settings.audit.syslog.tls if settings.audit.syslog else None]
    return [tls for tls in found if isinstance(tls, TlsSettings)]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
