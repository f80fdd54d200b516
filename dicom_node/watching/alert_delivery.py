"""Brings one message to one recipient: a POST of JSON to a web hook, or a mail.

By requests, and by smtplib and email of the standard library. Apprise, which knows many more services, was tried: 41 MB
in every process that sends, four more packages, and only yes or no as an answer. What is sent holds no patient data.
"""

import hashlib
import smtplib
import ssl
from collections.abc import Mapping
from contextlib import closing
from email.message import EmailMessage
from email.utils import formatdate
from pathlib import Path
from typing import Any, Final

from dicom_node.errors import AlertRefused
from dicom_node.settings.alert_settings import Alert, MailAddress, WebAddress

_TIMEOUT_S: Final = 15.0
_NOT_ENCRYPTED: Final = "NO_STARTTLS"

Message = Mapping[str, Any]


def bring(alert: Alert, message: Message) -> None:
    """Bring a message; returns when the recipient's server has taken it.

    The same message twice can be known by its id: header `Idempotency-Key`, and `Message-ID` of a mail.

    Raises:
        AlertRefused: the server answered, and did not take it.
        OSError: it could not be reached, or the file with its address not be read (requests, smtplib and ssl raise
            kinds of OSError).
        ValueError: the file holds no address.
    """
    address = alert.address()
    if isinstance(address, WebAddress):
        _post(address, message, alert.trusted)
    else:
        _mail(address, message, alert.trusted)


def _post(address: WebAddress, message: Message, trusted: Path | None) -> None:
    import requests

    with closing(
        requests.post(
            address.url,
            json={**message, "text": f"{subject(message)}: {message['sentence']}"},
            headers={"Idempotency-Key": str(message["id"])},
            timeout=_TIMEOUT_S,
            verify=str(trusted) if trusted else True,
            allow_redirects=False,  # the address is a secret, and so is where it leads
            stream=True,  # what it answers is not read
        )
    ) as answer:
        if not 200 <= answer.status_code < 300:
            raise AlertRefused(f"HTTP {answer.status_code}")


def _mail(address: MailAddress, message: Message, trusted: Path | None) -> None:
    context = ssl.create_default_context(cafile=trusted)
    try:
        with _server(address, context) as server:
            if address.tls == "starttls":
                server.starttls(context=context)
            if address.user:
                server.login(address.user, address.password)
            server.send_message(_written(address, message), address.sender, list(address.recipients))
    except smtplib.SMTPNotSupportedError as fault:
        raise AlertRefused(_NOT_ENCRYPTED) from fault
    except smtplib.SMTPResponseException as fault:
        raise AlertRefused(f"SMTP {fault.smtp_code}") from fault
    except smtplib.SMTPRecipientsRefused as fault:
        codes = sorted({code for code, _ in fault.recipients.values()})
        raise AlertRefused(f"SMTP {codes[0]}") from fault


def _server(address: MailAddress, context: ssl.SSLContext) -> smtplib.SMTP:
    if address.tls == "implicit":
        return smtplib.SMTP_SSL(address.host, address.port, timeout=_TIMEOUT_S, context=context)
    return smtplib.SMTP(address.host, address.port, timeout=_TIMEOUT_S)


def _written(address: MailAddress, message: Message) -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"] = subject(message)
    mail["From"] = address.sender
    mail["To"] = ", ".join(address.recipients)
    mail["Date"] = formatdate(float(message["at_s"]))
    mail["Message-ID"] = f"<{hashlib.sha256(str(message['id']).encode()).hexdigest()[:32]}@perfnode>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    lines = [
        str(message["sentence"]),
        "",
        *(f"{key}: {value}" for key, value in sorted(message.items()) if value != ""),
    ]
    mail.set_content("\n".join(lines) + "\n")
    return mail


def subject(message: Message) -> str:
    """One line that says what it is about."""
    about = f" case {message['case'][:12]}" if message.get("case") else ""
    return f"[{message['node']}] {message['event']}: {message['code']}{about}"
