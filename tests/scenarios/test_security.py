"""A node as a hospital would run it: TLS with client certificates both ways, known senders, audit to syslog."""

import base64
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import Dataset

from dicom_node.errors import DeliveryError
from dicom_node.network.addresses import AeAddress
from dicom_node.network.delivery import Destination, echo, send
from dicom_node.network.tls import TlsSettings
from tests.audit_messages import Line, parse_line, read_lines
from tests.certificates import Identity, certificates
from tests.peers import PEER_ENVIRONMENT, eventually, free_port, listens, program
from tests.running_node import RunningNode, save_instances
from tests.syslog_receivers import TlsReceiver, tls_receiver


def shows(identity: Identity) -> TlsSettings:
    return TlsSettings(identity.certificate, identity.key, certificates().authority)


@dataclass
class SecureNode(RunningNode):
    """A node that speaks TLS only."""

    def peer(self, ae_title: str = "CT1", identity: Identity | None = None) -> Destination:
        return Destination(
            "node", self.address, calling_ae_title=ae_title, tls=shows(identity or certificates().client)
        )

    def answers(self) -> bool:
        assert self.process is None or self.process.poll() is None, self.log()
        if not listens(self.address.port):
            return False
        try:
            echo(self.peer())
        except DeliveryError:
            return False
        return True


def write_site_file(node: SecureNode, pacs: AeAddress, syslog_port: int) -> None:
    known = certificates()
    node.site_file.write_text(
        f'[node]\nport = {node.address.port}\ndata_dir = "data"\nquiet_period_s = 1.0\nminimum_free_mb = 100\n'
        '[[senders]]\nae_title = "CT1"\nnetworks = ["127.0.0.1"]\n'
        '[[senders]]\nae_title = "ELSEWHERE"\nnetworks = ["10.0.0.0/8"]\n'
        f'[tls]\ncertificate = "{known.server.certificate}"\nkey = "{known.server.key}"\n'
        f'trusted = "{known.authority}"\n'
        f'[audit.syslog]\ntransport = "tls"\nhost = "localhost"\nport = {syslog_port}\n'
        f'[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = {pacs.port}\ntls = true\n'
        '[work]\nretry_delays_s = [1, 1, 1]\n[log]\nformat = "json"\n[inference]\nperfusion = "densitometric"\n'
    )


@contextmanager
def secure_pacs(folder: Path) -> Iterator[AeAddress]:
    """dcmtk's storescp, which lets in nobody without a certificate."""
    folder.mkdir()
    known, port = certificates(), free_port()
    command = [program("storescp"), "+tls", str(known.server.key), str(known.server.certificate)]
    command += ["+cf", str(known.authority), "--require-peer-cert", "--accept-all", "-od", str(folder), str(port)]
    process = subprocess.Popen(command, env=PEER_ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert eventually(lambda: listens(port))
        yield AeAddress("PACS", "127.0.0.1", port)
    finally:
        process.terminate()
        process.wait(10)


def alerts(lines: list[Line]) -> list[tuple[str, str]]:
    found = [line for line in lines if line.event == "Security Alert"]
    detail = "ParticipantObjectIdentification/ParticipantObjectDetail[@type='Alert Description']/@value"
    return [
        (line.value("EventIdentification/EventTypeCode/@originalText"), base64.b64decode(line.value(detail)).decode())
        for line in found
    ]


@pytest.mark.peers
def test_a_secured_node_serves_who_may_and_tells_the_audit_trail_everything(
    tmp_path: Path, thorax_instances: list[Dataset]
) -> None:
    paths = save_instances(thorax_instances, tmp_path / "ct")
    node = SecureNode(tmp_path, AeAddress("PERFNODE", "127.0.0.1", free_port()))
    with secure_pacs(tmp_path / "pacs") as pacs, tls_receiver(certificates()) as syslog:
        write_site_file(node, pacs, syslog.port)
        node.start()
        try:
            for stranger in (
                node.peer("CT1", certificates().stranger),
                node.peer("UNKNOWN"),
                node.peer("ELSEWHERE"),
                Destination("plain", node.address, calling_ae_title="CT1", association_timeout_s=5.0),
            ):
                with pytest.raises(DeliveryError):
                    echo(stranger)
            send(paths, node.peer())
            (case,) = node.finished_cases()
            assert case.state.value == "DELIVERED", node.log()
            assert node.perfnode("retry", case.case_id[:8]).returncode == 0
            assert len(list((tmp_path / "pacs").iterdir())) == 2
        finally:
            status = node.stop()
        assert status == 0
    _check_trail(node, syslog, thorax_instances[0])


def _check_trail(node: SecureNode, syslog: TlsReceiver, ct: Dataset) -> None:
    log_file = node.data_dir / "audit" / "audit.log"
    lines = read_lines(log_file)
    assert syslog.messages == log_file.read_bytes().splitlines()  # all of it, with the last word, and nothing twice
    assert [parse_line(message).event for message in syslog.messages] == [line.event for line in lines]
    kind = "EventIdentification/EventTypeCode/@originalText"
    assert (lines[0].value(kind), lines[-1].value(kind)) == ("Application Start", "Application Stop")
    told = alerts(lines)
    for code in ("TLS_HANDSHAKE_FAILED", "UNKNOWN_CALLING_AE: UNKNOWN", "ADDRESS_NOT_ALLOWED: ELSEWHERE"):
        assert any(kind == "Node Authentication" and words.startswith(code) for kind, words in told), (code, told)
    assert any(kind == "Use of Restricted Function" and words.startswith("retry of case:") for kind, words in told)
    transfers = [line for line in lines if line.event == "DICOM Instances Transferred"]
    actions = [line.value("EventIdentification/@EventActionCode") for line in transfers]
    assert actions[:2] == ["C", "R"]
    patients = {line.value("ParticipantObjectIdentification[@ParticipantObjectTypeCode='1']/@ParticipantObjectID")
                for line in transfers}  # fmt: skip
    assert len(patients) == 1
    assert str(ct.PatientID) not in patients
    content = log_file.read_text()
    assert str(ct.StudyInstanceUID) not in content
    shown = node.perfnode("audit", "show", "--patient", str(ct.PatientID))
    assert shown.stdout.count("DICOM Instances Transferred") == len(transfers), shown.stdout + shown.stderr
    verified = node.perfnode("audit", "verify")
    assert (verified.returncode, "unbroken" in verified.stdout) == (0, True)
    log_file.write_text(content.replace("UNKNOWN", "KNOWN", 1))
    verified = node.perfnode("audit", "verify")
    assert verified.returncode == 1
    assert "is not the one that line" in verified.stdout


def test_a_node_with_an_expired_certificate_says_so_and_does_not_start(tmp_path: Path) -> None:
    known = certificates()
    site_file = tmp_path / "site.toml"
    site_file.write_text(
        f'[tls]\ncertificate = "{known.expired.certificate}"\nkey = "{known.expired.key}"\n'
        f'trusted = "{known.authority}"\n'
    )
    command = [sys.executable, "-m", "dicom_node", "serve", "--config", str(site_file)]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "expired on 2024-02-01" in done.stderr
    assert not (tmp_path / "perfnode-data").exists()
    assert time.monotonic() - started < 30
