"""Every key of a site file with what is in force, and no secret among them."""

import hashlib
from pathlib import Path

from pydantic import BaseModel

from dicom_node.settings.config import parse_settings, read_settings
from dicom_node.settings.site_file import SiteFile
from dicom_node.settings.site_keys import HIDDEN, SiteKey, site_keys

CANARY = "ZZSECRETCANARY"


def keys(document: dict[str, object]) -> dict[str, SiteKey]:
    return {key.name: key for key in site_keys(SiteFile.model_validate(document))}


def test_each_key_says_its_value_and_whether_the_site_set_it() -> None:
    found = keys({"node": {"port": 104}, "work": {"gpus": ["0", "1"]}})
    assert (found["node.port"].value, found["node.port"].is_set) == ("104", True)
    assert (found["node.ae_title"].value, found["node.ae_title"].is_set) == ("PERFNODE", False)
    assert (found["work.gpus"].value, found["work.gpus"].is_set) == ("0, 1", True)
    assert found["node.require_called_ae_title"].value == "true"
    assert found["node.shared_dir"].value == "none"


def test_tables_in_lists_and_maps_are_told_apart() -> None:
    peer = {"ae_title": "A", "host": "h", "port": 104}
    found = keys(
        {
            "destinations": [{"name": "one", **peer}, {"name": "two", **peer, "mode": "hold"}],
            "quality": {"severities": {"METAL": "note"}, "limits": {"METAL": {"usual": [0, 1]}}},
            "rules": [{"name": "r", "action": "process", "rows": {"min": 512}}],
        }
    )
    assert found["destinations[1].name"].value == "two"
    assert (found["destinations[0].mode"].value, found["destinations[0].mode"].is_set) == ("live", False)
    assert (found["destinations[1].mode"].value, found["destinations[1].mode"].is_set) == ("hold", True)
    assert found["quality.severities.METAL"].value == "note"
    assert found["quality.limits.METAL.usual"].value == "0.0, 1.0"
    assert found["rules[0].rows.min"].value == "512.0"


def test_files_are_named_and_secrets_in_addresses_are_not(tmp_path: Path) -> None:
    found = keys(
        {
            "database": {
                "url": f"postgresql://{CANARY}@db:5432/perfnode?password={CANARY}",
                "password_file": "db.password",
            },
            "alerts": [{"name": "oncall", "url_file": "oncall.url"}],
        }
    )
    assert found["database.url"].value == "postgresql://db:5432/perfnode (more is not shown)"
    assert (found["database.password_file"].value, found["database.password_file"].is_file) == ("db.password", True)
    assert found["alerts[0].url_file"].is_file
    assert not any(CANARY in key.value for key in found.values())


def test_a_key_that_is_called_a_secret_is_not_shown() -> None:
    class Table(BaseModel):
        client_secret: str = ""
        api_key: str = ""
        bearer_token: str = ""
        admin_password: str = ""
        key_size: int = 0

    table = Table(client_secret=CANARY, api_key=CANARY, bearer_token=CANARY, admin_password=CANARY, key_size=3)
    found = {key.name: key.value for key in site_keys(table)}
    assert set(found.values()) == {HIDDEN, "3"}
    assert {key.value for key in site_keys(Table())} == {"none", "0"}


def test_settings_know_their_keys_and_the_digest_of_their_file(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text("[node]\nport = 104\n")
    settings = read_settings(path)
    assert settings.source_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert SiteKey("node.port", "104", is_set=True, is_file=False) in settings.keys
    assert parse_settings({}).source_sha256 == ""
    assert [key for key in parse_settings({}).keys if key.is_set] == []


def test_no_key_of_the_example_is_left_out() -> None:
    example = read_settings(Path(__file__).parents[3] / "configs" / "node" / "site.example.toml")
    tables = {key.name.partition(".")[0].partition("[")[0] for key in example.keys}
    assert tables == set(SiteFile.model_fields)
