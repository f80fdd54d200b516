"""Who may call, TLS and audit as the site file says them, and what is looked at before the port opens."""

import re
import shutil
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from dicom_node.audit.syslog import SyslogServer
from dicom_node.errors import ConfigurationError
from dicom_node.network.access import Sender
from dicom_node.serving import door_checks
from dicom_node.serving.door_checks import CertificateWatch, check_door, is_open_to_everybody
from dicom_node.settings.config import NodeSettings, parse_settings
from tests.certificates import Identity, certificates, issue

CT1 = {"ae_title": "CT1", "networks": ["10.1.2.0/24", "10.1.3.4"], "description": "planning CT"}


def tls_table(identity: Identity | None = None, **changes: object) -> dict[str, object]:
    ours = identity or certificates().server
    files = {"certificate": ours.certificate, "key": ours.key, "trusted": certificates().authority}
    return {name: str(path) for name, path in files.items()} | changes


def parse(**tables: Any) -> NodeSettings:
    return parse_settings(tables)


def mistakes(**tables: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        parse_settings(tables)
    return caught.value.problems


# -- the site file ---------------------------------------------------------------------------------------------------


def test_senders_and_titles_become_the_rules_of_the_receiver() -> None:
    again = {"ae_title": "CT1", "networks": ["fd00::/8"]}
    node = {"ae_title": "PERF", "also_called_ae_titles": ["OLDPERF"]}
    policy = parse(node=node, senders=[CT1, again]).receiver.policy
    assert (policy.ae_title, policy.also_called) == ("PERF", ("OLDPERF",))
    networks = (ip_network("10.1.2.0/24"), ip_network("10.1.3.4/32"))
    assert policy.senders == (Sender("CT1", networks), Sender("CT1", (ip_network("fd00::/8"),)))


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"senders": [{**CT1, "networks": ["10.1.2.3/24"]}]}, "senders.0.networks.0: .* write 10.1.2.0/24 for it"),
        ({"senders": [{**CT1, "networks": []}]}, "senders.0.networks"),
        ({"senders": [{"ae_title": "CT1"}]}, "senders.0.networks"),
        ({"senders": [{**CT1, "ae_title": "MUCH-TOO-LONG-A-TITLE"}]}, "senders.0.ae_title"),
        ({"senders": [{**CT1, "address": "10.1.2.3"}]}, "senders.0.address"),
        ({"node": {"accepted_calling_ae_titles": ["CT1"]}}, "node.accepted_calling_ae_titles"),
        ({"node": {"also_called_ae_titles": [""]}}, "node.also_called_ae_titles.0"),
        ({"tls": {"certificate": "node.pem", "key": "node.key"}}, "tls.trusted"),
        ({"tls": {"certificate": "a", "key": "b", "trusted": "c", "minimum_version": "1.1"}}, "tls.minimum_version"),
        ({"audit": {"patient_identifiers": "names"}}, "audit.patient_identifiers"),
        ({"audit": {"syslog": {"transport": "tcp", "host": "h"}}}, "audit.syslog.transport"),
        ({"audit": {"syslog": {"transport": "tls", "host": "h"}}}, "audit.syslog.transport: 'tls' needs the table"),
    ],
)
def test_mistakes_are_named(tables: dict[str, Any], words: str) -> None:
    problems = mistakes(**tables)
    assert len(problems) == 1
    assert re.match(words, problems[0]), problems[0]


def test_files_of_tls_stand_beside_the_site_file(tmp_path: Path) -> None:
    table = {"certificate": "node.pem", "key": "keys/node.key", "trusted": "/etc/ssl/ca.pem"}
    tls = parse_settings({"tls": table}, base=tmp_path).receiver.tls
    assert tls is not None
    assert (tls.certificate, tls.key) == (tmp_path / "node.pem", tmp_path / "keys/node.key")
    assert tls.trusted == Path("/etc/ssl/ca.pem")
    assert (tls.require_client_certificate, tls.check_host_name, tls.minimum_version) == (True, False, "1.2")


def test_a_site_may_call_with_tls_and_listen_without() -> None:
    settings = parse(tls=tls_table(listen=False))
    assert settings.receiver.tls is None
    assert settings.tls is not None


def test_syslog_has_the_ports_of_its_protocols_and_may_have_its_own_authority() -> None:
    syslog = {"transport": "tls", "host": "log.x", "trusted": str(certificates().other_authority)}
    server = parse(tls=tls_table(), audit={"syslog": syslog}).audit.syslog
    assert isinstance(server, SyslogServer)
    assert (server.transport, server.host, server.port) == ("tls", "log.x", 6514)
    assert server.tls is not None
    assert server.tls.trusted == certificates().other_authority  # type: ignore[attr-defined]
    assert server.tls.check_host_name is True  # type: ignore[attr-defined]
    udp = parse(audit={"syslog": {"transport": "udp", "host": "log.x"}}).audit.syslog
    assert udp == SyslogServer("udp", "log.x", 514)


# -- at the start ----------------------------------------------------------------------------------------------------


def test_files_that_cannot_work_stop_the_start_with_all_problems(tmp_path: Path) -> None:
    key = Path(shutil.copy(certificates().expired.key, tmp_path))
    key.chmod(0o644)
    expired = Identity(certificates().expired.certificate, key)
    with pytest.raises(ConfigurationError) as caught:
        check_door(parse(tls=tls_table(expired)))
    assert len(caught.value.problems) == 2
    assert "tls: " in caught.value.problems[0]
    assert "expired on 2024-02-01" in str(caught.value)
    assert "open to others" in str(caught.value)


def test_the_authority_of_the_syslog_server_is_looked_at_too() -> None:
    syslog = {"transport": "tls", "host": "log.x", "trusted": "/no/such/file.pem"}
    with pytest.raises(ConfigurationError, match=r"/no/such/file\.pem cannot be read"):
        check_door(parse(tls=tls_table(), audit={"syslog": syslog}))


OPEN = [
    ({"node": {"host": "0.0.0.0"}}, True),  # noqa: S104
    ({"node": {"host": "::"}}, True),
    ({"node": {"host": "10.1.2.3"}}, True),
    ({"node": {"host": "127.0.0.1"}}, False),
    ({"node": {"host": "::1"}}, False),
    ({"node": {"host": "localhost"}}, False),
    ({"node": {"host": "0.0.0.0"}, "senders": [CT1]}, False),  # noqa: S104
    ({"node": {"host": "0.0.0.0"}, "tls": {}}, False),  # noqa: S104
    ({"node": {"host": "0.0.0.0"}, "tls": {"require_client_certificate": False}}, True),  # noqa: S104
    ({"node": {"host": "0.0.0.0"}, "tls": {"listen": False}}, True),  # noqa: S104
]


@pytest.mark.parametrize(("tables", "is_open"), OPEN)
def test_a_port_that_is_open_to_everybody_is_warned_about(tables: dict[str, Any], is_open: bool) -> None:
    if "tls" in tables:
        tables = {**tables, "tls": tls_table(**tables["tls"])}
    settings = parse(**tables)
    assert is_open_to_everybody(settings) is is_open
    with capture_logs() as logs:
        check_door(settings)
    assert [log["code"] for log in logs] == (["NO_SENDERS"] if is_open else [])


def test_a_certificate_that_ends_soon_is_told_once_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = CertificateWatch(parse(tls=tls_table(issue(certificates(), "watched", days=5))))
    now = door_checks.time.monotonic()
    with capture_logs() as logs:
        for hours in (0, 0.1, 12, 23.9, 24.1, 25, 48.1):
            monkeypatch.setattr(door_checks.time, "monotonic", lambda at=now + 3600 * hours + 1: at)
            watch.look()
    assert [(log["code"], log["days"], log["log_level"]) for log in logs] == [("CERTIFICATE_ENDS", 4, "warning")] * 3


def test_a_certificate_that_has_ended_is_an_error_in_the_log() -> None:
    with capture_logs() as logs:
        CertificateWatch(parse(tls=tls_table(certificates().expired))).look()
    assert [log["log_level"] for log in logs] == ["error"]


def test_a_certificate_that_lasts_is_not_spoken_of() -> None:
    with capture_logs() as logs:
        CertificateWatch(parse(tls=tls_table())).look()
    assert logs == []
