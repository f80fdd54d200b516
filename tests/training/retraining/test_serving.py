"""Which model a node uses is asked of the node's own command, and an answer that is none is told as such."""

from pathlib import Path

import pytest

from tests.training.retraining.small_start import write_start
from training.retraining.errors import ServingUnknown
from training.retraining.serving import serving_model

SITE = """node = {{ ae_title = "NODE", data_dir = "{data}" }}
[inference]
perfusion = "bundle"
model_folder = "{folder}"
trusted_keys = [{keys}]
"""


def test_the_bundle_of_a_site_is_found_with_its_keys(tmp_path: Path) -> None:
    start = write_start(tmp_path / "model", key=tmp_path / "key.pem", members=1)
    site = tmp_path / "site.toml"
    site.write_text(SITE.format(data=tmp_path / "data", folder=start, keys=f'"{tmp_path / "key.pem.pub"}"'))
    found = serving_model(site)
    assert (found.kind, found.folder) == ("bundle", str(start))
    assert found.trusted_keys == (str(tmp_path / "key.pem.pub"),)


def test_a_site_whose_model_must_not_be_used_is_told_why(tmp_path: Path) -> None:
    start = write_start(tmp_path / "model", key=tmp_path / "key.pem", members=1)
    site = tmp_path / "site.toml"
    site.write_text(SITE.format(data=tmp_path / "data", folder=start, keys=""))
    with pytest.raises(ServingUnknown, match="MODEL_SIGNER_UNKNOWN"):
        serving_model(site)
