"""`perfnode models`: weights come by command only; the node and its stages never open a connection for them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.errors import NodeError
from inference.errors import InferenceError, ModelAltered, ModelSignerUnknown, ModelStoreUnwritable
from tests.peers import free_port
from tests.running_node import perfnode
from tests.stand_in_models import stand_in_bundle
from tests.stand_in_weights import nnunet_folder

pytestmark = pytest.mark.slow  # `make test-long`

LOBES = "totalsegmentator-lobes"


@pytest.fixture
def site(tmp_path: Path) -> str:
    (tmp_path / "site.toml").write_text(
        '[inference]\nlobes = "totalsegmentator"\nperfusion = "densitometric"\ndevice = "cpu"\n'
    )
    return str(tmp_path / "site.toml")


def models(*arguments: str) -> Result:
    """Run `perfnode models` in this process."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["models", *arguments])


def test_weights_are_imported_listed_verified_and_removed(tmp_path: Path, site: str) -> None:
    source = nnunet_folder(tmp_path)
    done = models("import", LOBES, str(source), "--config", site)
    assert done.exit_code == 0, done.output
    listed = json.loads(models("list", "--json", "--config", site).stdout)
    here = {weights["name"]: weights for weights in listed["weights"]}
    assert {name: weights["state"] for name, weights in here.items()} == {
        **{"lungmask-r231": "absent", "lungmask-ltrclobes": "absent"},
        LOBES: "stored",
    }
    assert {name for name, weights in here.items() if weights["used"]} == {LOBES}
    assert here[LOBES]["sha256"] in done.stdout
    assert here[LOBES]["licence"] == "Apache-2.0"
    assert here[LOBES]["imported_from"] == source.name
    assert (tmp_path / "perfnode-data").stat().st_mode & 0o777 == 0o700  # patients' images will lie there
    assert Path(listed["store"]) == tmp_path / "perfnode-data" / "models"
    assert listed["perfusion"]["name"] == "densitometric baseline"
    assert models("verify", "--config", site).exit_code == 0
    table = models("list", "--config", site).stdout
    assert here[LOBES]["sha256"][:12] in table
    file = tmp_path / "perfnode-data" / "models" / "files" / f"{here[LOBES]['sha256']}.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    damaged = models("verify", "--config", site)
    assert (damaged.exit_code, f"{LOBES} the bytes of the file have changed" in damaged.stdout) == (1, True)
    assert models("remove", LOBES, "--config", site).exit_code == 0
    assert models("remove", LOBES, "--config", site).exit_code == 1
    trail = (tmp_path / "perfnode-data" / "audit").rglob("*")
    said = "".join(path.read_text() for path in trail if path.is_file())
    assert "import-model" in said
    assert "remove-model" in said


def test_a_data_directory_that_cannot_be_made_is_a_known_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "site.toml").write_text('[node]\ndata_dir = "file/data"\n')
    fault = models("import", LOBES, str(tmp_path), "--config", str(tmp_path / "site.toml")).exception
    assert isinstance(fault, ModelStoreUnwritable)


def test_the_store_lies_where_the_site_says(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text('[inference]\nmodel_store = "elsewhere"\n')
    source = nnunet_folder(tmp_path)
    assert models("import", LOBES, str(source), "--config", str(site)).exit_code == 0
    assert (tmp_path / "elsewhere" / f"{LOBES}.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("import", "lungmask-r231", "site.toml"), "WEIGHTS_DIGEST_MISMATCH"),
        (("import", "lungmask-r231", "absent.pth"), "MODEL_NOT_FOUND"),
        (("import", LOBES, "site.toml"), "UNUSABLE_WEIGHTS"),
        (("import", "lungmask", "site.toml"), "UNKNOWN_MODEL"),
        (("fetch", "lungmask"), "UNKNOWN_MODEL"),
        (("fetch", LOBES), "DOWNLOAD_FAILED"),
        (("remove", "lungmask"), "UNKNOWN_MODEL"),
    ],
)
def test_a_mistake_is_a_known_error_with_a_code(
    tmp_path: Path, site: str, arguments: tuple[str, ...], code: str
) -> None:
    place = [str(tmp_path / part) if "." in part else part for part in arguments]
    fault = models(*place, "--config", site).exception
    assert isinstance(fault, NodeError | InferenceError)  # which the program prints as one line with its code
    assert fault.code == code


def test_without_internet_fetching_says_what_to_do_by_hand(site: str) -> None:
    nobody = f"http://127.0.0.1:{free_port()}/unet_r231-d5d2fc3d.pth"
    done = perfnode("models", "fetch", "lungmask-r231", "--url", nobody, "--config", site)
    assert done.returncode == 2
    assert "DOWNLOAD_FAILED: " in done.stderr
    assert "perfnode models import lungmask-r231 unet_r231-d5d2fc3d.pth" in done.stderr


WATCH = """
import os, sys
_log = os.open(os.environ["CONNECTIONS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def _hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        target = str(arguments[1:] if event in ("socket.connect", "socket.sendto") else arguments)
        os.write(_log, f"{event} {target}\\n".encode())
sys.addaudithook(_hook)
os.write(_log, f"process {os.getpid()}\\n".encode())
"""
"""A `sitecustomize` that every process of a node loads: notes each connection that Python code opens or asks for."""


def watched(tmp_path: Path, *arguments: str) -> tuple["subprocess.CompletedProcess[str]", list[str], int]:
    """Run a `perfnode` command: its end, the connections to other machines, and how many processes were watched."""
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH)
    log = tmp_path / "connections"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path / 'watch'}:.", "CONNECTIONS": str(log)}
    command = [sys.executable, "-m", "dicom_node", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    lines = log.read_text().splitlines()
    processes = [line for line in lines if line.startswith("process ")]
    return done, [line for line in lines if line not in processes and "127.0.0.1" not in line], len(processes)


def test_the_watch_sees_a_connection_that_is_tried(tmp_path: Path, site: str) -> None:
    arguments = ("models", "fetch", "lungmask-r231", "--url", "http://weights.invalid/x", "--config", site)
    _, connections, _ = watched(tmp_path, *arguments)
    assert any("weights.invalid" in line for line in connections)


@pytest.mark.parametrize(("command", "lobes"), [("serve", "lungmask"), ("process", "totalsegmentator")])
def test_without_weights_neither_node_nor_offline_run_opens_a_connection(
    tmp_path: Path, command: str, lobes: str, thorax_files: list[Path]
) -> None:
    port = free_port()
    (tmp_path / "site.toml").write_text(
        f'[node]\nport = {port}\n[inference]\nlobes = "{lobes}"\nperfusion = "densitometric"\n'
    )
    series = (str(thorax_files[0].parent), "--out", str(tmp_path / "out")) if command == "process" else ()
    done, connections, processes = watched(tmp_path, command, *series, "--config", str(tmp_path / "site.toml"))
    assert done.returncode == 2
    assert "MODEL_NOT_FOUND" in done.stderr
    assert f"perfnode models import {'lungmask-' if lobes == 'lungmask' else LOBES}" in done.stderr
    assert connections == []
    assert processes > (1 if command == "serve" else 0)  # the one that loads the model is a child of the node


def test_help_says_what_each_command_does() -> None:
    done = perfnode("models", "--help")
    assert done.returncode == 0
    for word in ("list", "show", "import", "fetch", "remove", "verify", "keygen"):
        assert word in done.stdout


def test_a_site_makes_a_key_trusts_it_and_looks_at_a_bundle_signed_with_it(tmp_path: Path) -> None:
    key = tmp_path / "ward.pem"
    made = models("keygen", str(key))
    assert made.exit_code == 0, made.output
    assert models("keygen", str(key)).exit_code != 0
    manifest = stand_in_bundle(tmp_path / "stand-in", key)
    assert manifest.key_id in made.stdout
    site = tmp_path / "site.toml"
    site.write_text('[inference]\nperfusion = "densitometric"\n')
    refused = models("show", str(tmp_path / "stand-in"), "--config", str(site)).exception
    assert isinstance(refused, ModelSignerUnknown)
    site.write_text('[inference]\nperfusion = "bundle"\nmodel_folder = "stand-in"\ntrusted_keys = ["ward.pem.pub"]\n')
    shown = models("show", "--config", str(site))
    assert shown.exit_code == 0, shown.output
    for words in ("stand-in 0", manifest.content_sha256(), manifest.key_id, "RESEARCH", "# Stand-in"):
        assert words in shown.stdout
    assert json.loads(models("show", "--json", "--config", str(site)).stdout)["name"] == "stand-in 0"
    listed = json.loads(models("list", "--json", "--config", str(site)).stdout)["perfusion"]
    assert (listed["name"], listed["weights"]) == ("stand-in 0", manifest.content_sha256())
    verified = models("verify", "--config", str(site))
    assert (verified.exit_code, "stand-in 0 is intact" in verified.stdout) == (0, True)
    (tmp_path / "stand-in" / "models" / "model.pt").touch()
    assert isinstance(models("verify", "--config", str(site)).exception, ModelAltered)
    problem = json.loads(models("list", "--json", "--config", str(site)).stdout)["perfusion"]["problem"]
    assert problem.startswith("MODEL_ALTERED")
