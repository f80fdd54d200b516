"""TLS as a hospital configures it: our certificate, whom we trust, and contexts for both directions."""

import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Files of one TLS identity, all PEM.

    Used for what we listen on and for what we connect to.
    """

    certificate: Path
    """Our certificate, with intermediate ones after it."""
    key: Path
    """Its private key, not encrypted, readable by us only."""
    trusted: Path
    """Certificates of the authorities, or of the peers themselves, that we accept."""
    require_client_certificate: bool = True
    """Whether a peer that connects to us must show a certificate that `trusted` accepts."""
    check_host_name: bool = False
    """Whether the certificate of a peer that we connect to must name its host; hospitals often issue others."""

    def server_context(self) -> ssl.SSLContext:
        """For associations that peers open."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        context.load_verify_locations(self.trusted)
        context.verify_mode = ssl.CERT_REQUIRED if self.require_client_certificate else ssl.CERT_NONE
        return context

    def client_context(self) -> ssl.SSLContext:
        """For associations that we open."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_cert_chain(self.certificate, self.key)
        context.load_verify_locations(self.trusted)
        context.check_hostname = self.check_host_name
        return context
