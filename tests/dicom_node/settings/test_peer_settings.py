"""The tables `[[destinations]]` and `[[peers]]`: what they become, and what is said of mistakes."""

from pathlib import Path
from typing import Any

import pytest

from dicom_node.errors import ConfigurationError
from dicom_node.network.query import ArchivePeer
from dicom_node.network.web_peer import DicomwebPeer
from dicom_node.settings.config import parse_settings

PACS = {"name": "pacs", "ae_title": "PACS", "host": "10.0.0.5", "port": 104}
MOVE = {**PACS, "name": "a", "retrieve": "c-move"}
FOLDER = {**MOVE, "folder_ae_title": "FOLDER", "folder_port": 11113}


def mistakes(base: Path, **tables: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse_settings(tables, base=base)
    return "\n".join(caught.value.problems)


def test_peers_and_destinations_are_found_by_name(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    web = {"name": "cloud", "dicomweb_url": "https://archive.example/dicom-web/", "token_file": "token"}
    archive = {**FOLDER, "name": "archive", "retrieve_timeout_s": 60}
    settings = parse_settings({"destinations": [PACS, web], "peers": [archive]}, base=tmp_path)
    found = settings.peer("archive")
    assert isinstance(found, ArchivePeer)
    assert (found.retrieve, found.retrieve_timeout_s, found.calling_ae_title) == ("c-move", 60, "PERFNODE")
    assert (found.folder_ae_title, found.folder_port) == ("FOLDER", 11113)
    cloud = settings.destination("cloud")
    assert isinstance(cloud, DicomwebPeer)
    assert (cloud.url, cloud.token_file) == ("https://archive.example/dicom-web", tmp_path / "token")
    assert "secret" not in repr(settings)
    assert settings.peer("pacs") is settings.destination("pacs")
    with pytest.raises(KeyError):
        settings.destination("archive")


@pytest.mark.parametrize(
    ("peer", "said"),
    [
        ({**PACS}, "peers: the name pacs occurs twice among peers and destinations"),
        ({"name": "a", "ae_title": "A", "host": "h"}, "peers.0.port: Value error, needed, or dicomweb_url"),
        ({**PACS, "name": "a", "host": "a b"}, "peers.a.host: 'a b' is not a host name"),
        ({**PACS, "name": "a", "tls": True}, "peers.a.tls: true needs the table [tls]"),
        ({**PACS, "name": "a", "trusted": "ca.pem"}, "peers.a.trusted: only for a DICOMweb service"),
        ({**PACS, "name": "a", "retrieve": "dicomweb"}, "peers.a.retrieve: 'dicomweb' and dicomweb_url"),
        ({**MOVE, "folder_ae_title": "F"}, "peers.a.folder_port: folder_ae_title and folder_port belong together"),
        ({**MOVE, "folder_port": 11113}, "peers.a.folder_port: folder_ae_title and folder_port belong together"),
        ({**FOLDER, "retrieve": "c-get"}, "peers.a.folder_ae_title: only with retrieve = 'c-move'"),
        ({**FOLDER, "folder_port": 11112}, "peers.a.folder_port: that is the port of the node"),
        ({**FOLDER, "folder_ae_title": "PERFNODE"}, "peers.a.folder_ae_title: that is the node's"),
        ({"name": "a", "dicomweb_url": "archive/web"}, "peers.a.dicomweb_url: not of the form https://"),
        ({"name": "a", "dicomweb_url": "https://user:word@x/"}, "peers.a.dicomweb_url: not of the form https://"),
        ({"name": "a", "dicomweb_url": "https://x", "port": 1}, "peers.a.port: not for a DICOMweb service"),
        ({"name": "a", "dicomweb_url": "https://x", "trusted": "no.pem"}, "peers.a.trusted: there is no file no.pem"),
        ({"name": "a", "dicomweb_url": "https://x", "client_key": "k"}, "peers.a.client_key: client_certificate and"),
        ({"name": "a", "dicomweb_url": "http://x", "token_file": "t"}, "peers.a.token_file: would go over the network"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, peer: dict[str, Any], said: str) -> None:
    assert said in mistakes(tmp_path, destinations=[PACS], peers=[peer])


def test_a_secret_may_go_unencrypted_to_this_machine_only(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    local = {"name": "a", "retrieve": "dicomweb", "dicomweb_url": "http://127.0.0.1:8042/d", "token_file": "token"}
    assert parse_settings({"peers": [local]}, base=tmp_path).peer("a").name == "a"
