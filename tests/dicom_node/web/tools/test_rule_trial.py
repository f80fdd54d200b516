"""Files dropped on the page: what the rules say of them, and that nothing is left of them whatever they are."""

import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSNearLossless,
)
from starlette.testclient import TestClient

from dicom_node.reception.free_space import FreeSpace
from dicom_node.reception.part10 import file_preamble
from dicom_node.reception.trial import try_rules
from dicom_node.settings.config import read_settings
from dicom_node.web.access.rights import PageRole
from dicom_node.web.tools.rule_trial import FOLDER, LIMITS
from dicom_node.web.tools.rule_trial import tried as asked
from dicom_node.web.tools.upload import UploadedFile, UploadLimits, shown_name
from tests.dicom_node.web.conftest import ClientFor
from tests.small_ct import CANARY, encoded, small_ct, write_file, write_series

ADDRESS = "/api/v1/rules/trial"


@pytest.fixture
def operator(client_for: ClientFor) -> TestClient:
    return client_for(PageRole.OPERATOR)


@pytest.fixture(autouse=True)
def _nothing_is_kept(node_folder: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """After every test: no file of an upload is left, and no log names the patient or a file."""
    yield
    root = node_folder / "data" / FOLDER
    assert not root.exists() or list(root.iterdir()) == []
    said = "".join(capfd.readouterr())
    assert CANARY not in said
    assert "ZZFILENAME" not in said


def tried(client: TestClient, *files: tuple[str, bytes], **options: Any) -> Any:
    return client.post(ADDRESS, files=[("files", file) for file in files], **options)


def of_path(path: Path) -> tuple[str, bytes]:
    return path.name, path.read_bytes()


def ct_file(content: bytes, syntax: str = ExplicitVRLittleEndian, instance: str = "1.2.3") -> bytes:
    return file_preamble(CTImageStorage, instance, syntax) + content


def test_each_series_gets_the_answer_of_the_rules(operator: TestClient, tmp_path: Path) -> None:
    one, two = write_series(tmp_path / "one", 3), write_series(tmp_path / "two", 2, series="1.2.3.9")
    answer = tried(operator, *map(of_path, [*one, *two]))
    assert answer.status_code == 200
    found = answer.json()
    assert [series["files"] for series in found["series"]] == [3, 2]
    assert found["turned_away"] == []
    first = found["series"][0]
    assert first["first_file"] == one[0].name
    assert first["outcome"] == "process"
    *before, last = first["asked"]
    assert (last["name"], last["takes"]) == (first["rule"], True)
    assert [rule["takes"] for rule in before] == [False] * len(before)
    assert all(any(not answer["holds"] for answer in rule["conditions"]) for rule in before), "each says why not"
    assert CANARY not in answer.text


def test_the_answer_is_that_of_the_command(node_folder: Path, tmp_path: Path) -> None:
    site = node_folder / "site.toml"
    rule = '[[rules]]\nname = "all-ct"\naction = "process"\nmodality = ["CT"]\ncalling_ae_title = ["SCANNER"]\n'
    site.write_text(site.read_text() + rule)
    settings, paths = read_settings(site), write_series(tmp_path / "one", 3)
    files = [UploadedFile(path, path.name) for path in paths]
    for calling, outcome in (("SCANNER", "process"), ("", "unmatched")):
        (theirs,) = try_rules(settings.rules, paths, [calling] if calling else [])
        (ours,) = asked(files, settings, calling).series
        assert theirs.outcome == ours.outcome == outcome
        assert [rule.takes for rule in ours.asked] == [rule.takes for rule in theirs.decision.asked]


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("empty", b"", "NOT_DICOM"),
        ("words", b"no image at all" * 20, "NOT_DICOM"),
        ("zip", b"PK\3\4" + b"\0" * 400, "NOT_DICOM"),
        ("preamble only", b"\0" * 128 + b"DICM", "NOT_DICOM"),
        ("cut", ct_file(encoded(small_ct())[:-7]), "INVALID_INSTANCE"),
        ("too long", ct_file(encoded(small_ct()) + b"\1\2\3"), "INVALID_INSTANCE"),
        ("another instance", ct_file(encoded(small_ct()), instance="1.2.3.4.5"), "INSTANCE_MISMATCH"),
        ("lossy", ct_file(b"", JPEGLSNearLossless), "SYNTAX_NOT_TAKEN"),
        ("unknown syntax", ct_file(b"", "1.2.3.4"), "SYNTAX_NOT_TAKEN"),
    ],
)
def test_what_the_receiver_would_not_take_has_a_code(
    operator: TestClient, name: str, content: bytes, code: str
) -> None:
    answer = tried(operator, (name, content))
    assert answer.status_code == 200
    assert [(f["file"], f["code"]) for f in answer.json()["turned_away"]] == [(name, code)]
    assert answer.json()["series"] == []


def test_a_deflated_bomb_is_never_inflated(operator: TestClient) -> None:
    inflated = 300 << 20
    packer = zlib.compressobj(9, wbits=-15)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(inflated >> 20)) + packer.flush()
    before = _peak_kb()
    answer = tried(operator, ("bomb", ct_file(bomb, DeflatedExplicitVRLittleEndian)))
    assert answer.json()["turned_away"][0]["code"] == "SYNTAX_NOT_TAKEN"
    assert _peak_kb() - before < inflated >> 11, "half of what it would inflate to"


def _peak_kb() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1])


def test_nested_sequences_do_not_exhaust_the_stack(operator: TestClient) -> None:
    depth = 3000
    item = b"\x08\x00\x40\x11\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    end = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    answer = tried(operator, ("deep", ct_file(item * depth + end * depth, ImplicitVRLittleEndian)))
    assert answer.json()["turned_away"][0]["code"] == "INVALID_INSTANCE"


def test_an_element_that_claims_a_gigabyte_allocates_none(operator: TestClient) -> None:
    claim = b"\x08\x00\x08\x00UT\0\0" + (1 << 30).to_bytes(4, "little") + b"short"
    answer = tried(operator, ("claim", ct_file(claim)))
    assert answer.json()["turned_away"][0]["code"] == "INVALID_INSTANCE"


def test_a_request_that_claims_too_much_is_refused_before_it_is_read(operator: TestClient) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x", "content-length": str(LIMITS.all_bytes + 1)}
    request = operator.build_request("POST", ADDRESS, headers=headers, content=b"")
    request.headers["content-length"] = str(LIMITS.all_bytes + 1)
    answer = operator.send(request)
    assert answer.status_code == 413
    assert "UPLOAD_TOO_LARGE" in answer.text


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (UploadLimits(files=1), "UPLOAD_TOO_MANY"),
        (UploadLimits(file_bytes=100), "UPLOAD_TOO_LARGE"),
        (UploadLimits(all_bytes=900), "UPLOAD_TOO_LARGE"),
    ],
)
def test_limits_hold_for_what_really_comes(
    operator: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: UploadLimits, code: str
) -> None:
    monkeypatch.setattr("dicom_node.web.tools.rule_trial.LIMITS", limits)
    answer = tried(operator, *map(of_path, write_series(tmp_path / "one", 2)))
    assert answer.status_code == 413
    assert code in answer.text


def test_a_body_without_a_declared_length_has_the_same_limit(
    operator: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.web.tools.rule_trial.LIMITS", UploadLimits(all_bytes=10_000))

    def endless() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        for _ in range(1000):
            yield b"a" * 1000

    answer = operator.post(ADDRESS, content=endless(), headers={"content-type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("multipart/form-data", b"", 415),
        ("multipart/form-data; boundary=x", b"no parts at all", 400),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"', 400),
        ("multipart/form-data; boundary=x", b"", 400),
    ],
)
def test_a_request_that_is_no_upload_is_refused(operator: TestClient, kind: str, body: bytes, status: int) -> None:
    answer = operator.post(ADDRESS, content=body, headers={"content-type": kind})
    assert answer.status_code == status
    assert "UPLOAD_MALFORMED" in answer.text


def test_a_name_that_climbs_is_only_shown(operator: TestClient, node_folder: Path) -> None:
    before = sorted(str(path) for path in node_folder.rglob("*"))
    answer = tried(operator, ("../../../ZZFILENAME<script>", b"x"))
    assert answer.json()["turned_away"][0]["file"] == "ZZFILENAME<script>"
    assert answer.headers["content-type"] == "application/json"
    after = sorted(str(path) for path in node_folder.rglob("*") if FOLDER not in path.parts)
    assert after == before


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (b"../../x", "x"),
        (b"C:\\patients\\doe.dcm", "doe.dcm"),
        (b"a\0b\x1b[31m", "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}[31m"),
        (b"", "without a name"),
        (b"a/", "without a name"),
        (b"a" * 1000, "a" * 80),
    ],
)
def test_names_are_shown_without_folders_and_control_characters(sent: bytes, shown: str) -> None:
    assert shown_name(sent) == shown


def test_without_room_nothing_is_written(
    operator: TestClient, node_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("dicom_node.web.tools.rule_trial.FreeSpace", lambda folder, minimum_mb: FreeSpace(folder, 1e15))
    answer = tried(operator, of_path(write_file(tmp_path, small_ct())))
    assert answer.status_code == 507
    assert not (node_folder / "data" / FOLDER).exists()


def test_only_so_many_uploads_at_once(operator: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = threading.BoundedSemaphore(1)
    taken.acquire()
    monkeypatch.setattr("dicom_node.web.tools.rule_trial._seats", taken)
    assert tried(operator, of_path(write_file(tmp_path, small_ct()))).status_code == 503
    taken.release()
    assert tried(operator, of_path(write_file(tmp_path, small_ct()))).status_code == 200
    assert taken.acquire(blocking=False), "the seat is given back"


def test_implicit_headers_are_read_like_explicit_ones(operator: TestClient, tmp_path: Path) -> None:
    found = tried(operator, of_path(write_file(tmp_path, small_ct(), ImplicitVRLittleEndian))).json()
    assert [series["files"] for series in found["series"]] == [1]


def test_a_real_planning_ct_is_taken(operator: TestClient, test_data: Path) -> None:
    paths = sorted((test_data / "ct" / "lungdx_A0001").rglob("*.dcm"))
    if not paths:
        pytest.skip("the CT of lungdx_A0001 is not there")
    found = tried(operator, *map(of_path, paths)).json()
    (series,) = found["series"]
    assert (series["files"], series["outcome"], series["held"]) == (len(paths), "process", None)
    without_one = tried(operator, *map(of_path, [p for k, p in enumerate(_by_height(paths)) if k != 20])).json()
    assert without_one["series"][0]["held"]["code"] == "SLICES_MISSING"


def _by_height(paths: list[Path]) -> list[Path]:
    def height(path: Path) -> float:
        return float(dcmread(path, specific_tags=["ImagePositionPatient"]).ImagePositionPatient[2])

    return sorted(paths, key=height)


@pytest.mark.parametrize("folder", ["odd", "syntaxes", "rt", "pm", "nm"])
def test_whatever_others_write_gets_an_answer(operator: TestClient, test_data: Path, folder: str) -> None:
    paths = sorted(path for path in (test_data / folder).rglob("*") if path.is_file())
    found = tried(operator, *map(of_path, paths)).json()
    counted = sum(series["files"] for series in found["series"]) + len(found["turned_away"])
    assert counted == len(paths)
    assert all(away["code"] and away["message"] for away in found["turned_away"])


def test_the_page_shows_rules_to_all_and_files_are_for_operators(client_for: ClientFor) -> None:
    viewer = client_for(PageRole.VIEWER)
    page = viewer.get("/tools/rules")
    assert page.status_code == 200
    assert 'id="trial"' not in page.text
    assert viewer.get("/api/v1/rules").json()[0]["name"] in page.text
    assert tried(viewer, ("a", b"x")).status_code == 403
    assert 'id="trial"' in client_for(PageRole.OPERATOR).get("/tools/rules").text
