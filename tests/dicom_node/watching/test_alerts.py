"""Messages to people, taken by a real mail server and a real web server on loopback, with TLS and without."""

import email.policy
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword

from dicom_node.errors import ConfigurationError
from dicom_node.jobs.attempts import Attempt, AttemptId, case_of
from dicom_node.settings.alert_settings import Alert, AlertEvent, MailAddress, WebAddress
from dicom_node.settings.config import NodeSettings, parse_settings
from dicom_node.watching.alerts import Happening, brought, of_case, send
from tests.certificates import certificates
from tests.peers import free_port

EVERYTHING = tuple(AlertEvent)
FAILED = Happening(AlertEvent.FAILED, "abc 1 STAGE_CRASHED", "STAGE_CRASHED", "It crashed.", "abc123", "FAILED")


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates().server.certificate, certificates().server.key)
    return context


@dataclass
class MailServer:
    """What it takes, and what it answers."""

    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)
    answer: str = "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:  # noqa: N802
        if self.answer.startswith("2"):
            content = envelope.original_content or b""
            self.mails.append(email.message_from_bytes(content, policy=email.policy.default))  # type: ignore[arg-type]
            self.recipients.append(list(envelope.rcpt_tos))
        return self.answer

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password))
        is_known = data.password == b"s3cret/word"
        return AuthResult(success=is_known, handled=is_known)


@contextmanager
def mail_server(**options: Any) -> Iterator[tuple[MailServer, int]]:
    takes, port = MailServer(), free_port()
    controller = Controller(
        takes, hostname="127.0.0.1", port=port, authenticator=takes.authenticate, ready_timeout=20, **options
    )
    controller.start()
    try:
        yield takes, port
    finally:
        controller.stop()


@dataclass
class Hook:
    """A web hook: what came, and what it answers."""

    came: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    """In turn; then 200."""
    location: str = ""


@contextmanager
def web_hook(*answers: int, tls: bool = False) -> Iterator[tuple[Hook, str]]:
    hook = Hook(answers=list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            hook.came.append((dict(self.headers), body))
            self.send_response(hook.answers.pop(0) if hook.answers else 200)
            self.send_header("Content-Length", "0")
            self.send_header("Location", hook.location or "/elsewhere")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls:
            server.socket = server_context().wrap_socket(server.socket, server_side=True)
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        try:
            yield hook, f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}/hook/secret"
        finally:
            server.shutdown()
            serving.join()


def alert(folder: Path, url: str, *, trusted: Path | None = None, name: str = "oncall") -> Alert:
    file = folder / f"{name}.url"
    file.write_text(f"{url}\n# who that is\n")
    return Alert(name, file, EVERYTHING, trusted)


MESSAGE = FAILED.message("PERFNODE")


def test_a_web_hook_gets_json_with_a_text_for_chat_programs(tmp_path: Path) -> None:
    with web_hook() as (hook, url):
        assert brought(alert(tmp_path, url), MESSAGE) == ""
    ((headers, body),) = hook.came
    assert body["code"] == "STAGE_CRASHED"
    assert body["case"] == "abc123"
    assert body["text"] == "[PERFNODE] failed: STAGE_CRASHED case abc123: It crashed."
    assert headers["Idempotency-Key"] == MESSAGE["id"] == "failed:abc 1 STAGE_CRASHED"


@pytest.mark.parametrize("answer", [302, 400, 404, 500, 503])
def test_a_web_hook_that_does_not_take_it_is_asked_again_later(tmp_path: Path, answer: int) -> None:
    with web_hook(answer) as (hook, url):
        assert brought(alert(tmp_path, url), MESSAGE) == f"HTTP {answer}"
        assert len(hook.came) == 1  # a redirect is not followed
        assert brought(alert(tmp_path, url), MESSAGE) == ""


def test_https_needs_a_certificate_that_is_trusted(tmp_path: Path) -> None:
    with web_hook(tls=True) as (hook, url):
        assert brought(alert(tmp_path, url), MESSAGE) == "SSLError"
        assert brought(alert(tmp_path, url, trusted=certificates().other_authority), MESSAGE) == "SSLError"
        assert hook.came == []
        assert brought(alert(tmp_path, url, trusted=certificates().authority), MESSAGE) == ""


def mail(port: int, scheme: str = "smtp", more: str = "&tls=no", login: str = "") -> str:
    return f"{scheme}://{login}127.0.0.1:{port}/?from=node@example.org&to=a@example.org,b@example.org{more}"


def test_a_mail_says_what_happened(tmp_path: Path) -> None:
    with mail_server() as (server, port):
        assert brought(alert(tmp_path, mail(port)), MESSAGE) == ""
        assert brought(alert(tmp_path, mail(port)), MESSAGE) == ""
    first, second = server.mails
    assert first["Subject"] == "[PERFNODE] failed: STAGE_CRASHED case abc123"
    assert first["From"] == "node@example.org"
    assert server.recipients[0] == ["a@example.org", "b@example.org"]
    assert first["Message-ID"] == second["Message-ID"]
    assert first["Auto-Submitted"] == "auto-generated"
    text = first.get_content()
    assert text.startswith("It crashed.")
    assert "state: FAILED" in text


def test_mail_goes_over_tls_with_a_login(tmp_path: Path) -> None:
    trusted = certificates().authority
    login = "perf%40node:s3cret%2Fword@"
    with mail_server(tls_context=server_context(), require_starttls=True, auth_required=True) as (server, port):
        assert brought(alert(tmp_path, mail(port, more="", login=login), trusted=trusted), MESSAGE) == ""
        assert server.logins == [(b"perf@node", b"s3cret/word")]
        assert brought(alert(tmp_path, mail(port, more="", login="x:y@"), trusted=trusted), MESSAGE) == "SMTP 535"
        assert brought(alert(tmp_path, mail(port, more="")), MESSAGE) == "SSLCertVerificationError"
    assert len(server.mails) == 1
    with mail_server(ssl_context=server_context()) as (server, port):
        assert brought(alert(tmp_path, mail(port, "smtps", more=""), trusted=trusted), MESSAGE) == ""
        assert len(server.mails) == 1


def test_a_password_is_never_sent_in_the_clear_unless_the_site_says_so(tmp_path: Path) -> None:
    with mail_server(auth_require_tls=False) as (server, port):
        assert brought(alert(tmp_path, mail(port, more="", login="a:b@")), MESSAGE) == "NO_STARTTLS"
    assert server.logins == []


def test_a_mail_server_that_refuses_or_is_away_is_asked_again_later(tmp_path: Path) -> None:
    with mail_server() as (server, port):
        server.answer = "451 later"
        assert brought(alert(tmp_path, mail(port)), MESSAGE) == "SMTP 451"
        server.answer = "250 OK"
        assert brought(alert(tmp_path, mail(port)), MESSAGE) == ""
    assert brought(alert(tmp_path, mail(port)), MESSAGE) == "ConnectionRefusedError"


def settings_with(folder: Path, *alerts: dict[str, Any]) -> NodeSettings:
    return parse_settings({"alerts": list(alerts)}, base=folder)


def test_tries_wait_longer_and_longer_and_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://user:ZZSECRET@127.0.0.1:{free_port()}/ZZSECRET"
    (tmp_path / "a.url").write_text(url)
    settings = settings_with(tmp_path, {"name": "a", "url_file": "a.url"})
    waits = [send(settings, "a", MESSAGE, tries).get("wait_s") for tries in (1, 2, 6, 39, 40)]
    assert waits == [5.0, 60.0, 3600.0, 3600.0, None]
    assert send(settings, "gone", MESSAGE, 1) == {"result": "discarded"}
    printed = capsys.readouterr()
    assert "alert_not_sent" in printed.out
    assert "ZZSECRET" not in printed.out + printed.err


def attempts(*ended: tuple[str, str, dict[str, Any]]) -> list[Attempt]:
    return [Attempt(AttemptId.parse(name), status, output, 1.0, 2.0) for name, status, output in ended]


DONE = {"result": "done", "destinations": ["pacs"], "more": True}


@pytest.mark.parametrize(
    ("last", "event", "code"),
    [
        (
            ("a:1:perfuse:1", "SUCCESS", {"result": "failed", "code": "STAGE_CRASHED"}),
            AlertEvent.FAILED,
            "STAGE_CRASHED",
        ),
        (
            ("a:1:perfuse:1", "MAX_RECOVERY_ATTEMPTS_EXCEEDED", {"code": "TOO_MANY_RESTARTS"}),
            AlertEvent.FAILED,
            "TOO_MANY_RESTARTS",
        ),
        (("a:1:deliver.pacs:1", "SUCCESS", {"result": "held", "code": "HOLD"}), AlertEvent.HELD, "HOLD"),
        (("a:1:perfuse:1", "SUCCESS", {"result": "rejected", "code": "NO_LUNGS"}), None, ""),
        (("a:1:perfuse:1", "PENDING", {}), None, ""),
    ],
)
def test_a_case_is_told_of_if_a_person_must_act(last: Any, event: AlertEvent | None, code: str) -> None:
    found = list(of_case(case_of(attempts(("a:1:read:1", "SUCCESS", DONE), last))))
    assert [(happening.event, happening.code) for happening in found] == ([(event, code)] if event else [])
    if found:
        assert found[0].case_id == "a"


def test_the_same_trouble_has_the_same_id_and_a_new_run_another() -> None:
    def id_of(run: int) -> str:
        read, crash = (f"a:{run}:read:1", "SUCCESS", DONE), (f"a:{run}:perfuse:1", "SUCCESS", {"result": "failed"})
        (happening,) = of_case(case_of(attempts(read, crash)))
        return happening.id

    assert id_of(1) == id_of(1) != id_of(2)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("https://hooks.example/T1/x", WebAddress("https://hooks.example/T1/x")),
        (
            "smtps://u:p@mail.example?from=a@b&to=c@d",
            MailAddress("mail.example", 465, "implicit", "u", "p", "a@b", ("c@d",)),
        ),
        ("smtp://mail.example?from=a@b&to=c@d", MailAddress("mail.example", 587, "starttls", "", "", "a@b", ("c@d",))),
        (
            "smtp://mail.example?from=a@b&to=c@d&tls=no",
            MailAddress("mail.example", 25, "none", "", "", "a@b", ("c@d",)),
        ),
    ],
)
def test_addresses_of_each_kind(tmp_path: Path, line: str, expected: object) -> None:
    assert alert(tmp_path, line).address() == expected


@pytest.mark.parametrize("line", ["", "ZZSECRET", "ftp://a/ZZSECRET", "https:///ZZSECRET", "smtp://ZZSECRET"])
def test_a_wrong_address_stops_the_start_without_being_quoted(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.url").write_text(line)
    with pytest.raises(ConfigurationError) as caught:
        settings_with(tmp_path, {"name": "a", "url_file": "a.url"}, {"name": "a", "url_file": "absent.url"})
    assert "alerts.a.url_file" in str(caught.value)
    assert "No such file" in str(caught.value)
    assert "the name a occurs twice" in str(caught.value)
    assert "ZZSECRET" not in str(caught.value)
