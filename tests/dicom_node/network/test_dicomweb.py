"""DICOMweb to and from Orthanc's plugin, and services that refuse, lie, hang or send too much."""

import base64
import json
import threading
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import CTImageStorage, JPEGLSLossless
from structlog.testing import capture_logs

from dicom_node.errors import (
    DeliveryInterrupted,
    PeerUnreachable,
    QueryRefused,
    QueryTooWide,
    RetrievalIncomplete,
    StoreRefused,
)
from dicom_node.network import web_session
from dicom_node.network.delivery import Destination, InstanceDelivery, send
from dicom_node.network.dicomweb import (
    DicomwebPeer,
    echo,
    expected_instances,
    find_series,
    find_studies,
    get_series,
    store,
    stored_instances,
)
from dicom_node.network.multipart import CutOff, parts
from dicom_node.network.query import FoundSeries
from dicom_node.reception.spool import Spool
from tests.certificates import certificates
from tests.peers import eventually, free_port, orthanc
from tests.small_ct import SERIES, dataset_bytes, small_ct, write_file, write_series
from tests.web_peers import WebRequest, web_service

STUDY = "1.2.826.0.1.3680043.8.498"


def peer(url: str, **settings: Any) -> DicomwebPeer:
    return DicomwebPeer("web", url, **{"connect_timeout_s": 2.0, "response_timeout_s": 5.0, **settings})


def found(instances: int | None) -> FoundSeries:
    return FoundSeries(STUDY, SERIES, "CT", "1", "", instances)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", minimum_free_mb=1)


# -- Orthanc -----------------------------------------------------------------------------------------------------------


@pytest.mark.peers
def test_orthanc_stores_lists_and_gives_back_every_dataset_byte_for_byte(tmp_path: Path, spool: Spool) -> None:
    files = write_series(tmp_path / "ct", 3, side=32)
    compressed = small_ct(4, side=32)
    files.append(write_file(tmp_path, compressed))
    compressed.compress(JPEGLSLossless, generate_instance_uid=False)
    compressed.save_as(files[-1], enforce_file_format=True)
    told: list[InstanceDelivery] = []
    with orthanc(tmp_path / "archive", dicomweb=True) as running:
        web = peer(running.dicomweb_url, maximum_request_bytes=3000)  # one object fits, two do not
        assert echo(web) < 5
        report = store(files, web, told.append)
        assert [i.status for i in report.instances] == [0, 0, 0, 0]
        assert [i.sop_instance_uid for i in told] == [f"{SERIES}.{n}" for n in (1, 2, 3, 4)]
        assert all(i.is_stored for i in store(files, peer(running.dicomweb_url)).instances)  # all in one request
        uids = {f"{SERIES}.{n}" for n in (1, 2, 3, 4)}
        assert stored_instances(web, STUDY, SERIES) == uids
        assert stored_instances(web, STUDY, "1.2.3") == set()
        (study,) = find_studies(web, patient_id="CANARY-ID")
        assert study.study_instance_uid == STUDY
        (series,) = find_series(web, STUDY, "CT")
        assert expected_instances(web, STUDY, SERIES) == 4
        assert find_studies(web, patient_id="NOBODY") == []
        assert get_series(web, series, spool) == 4
    (kept,) = spool.series()
    assert kept.is_complete
    assert sorted(map(dataset_bytes, kept.instances)) == sorted(map(dataset_bytes, files))


@pytest.mark.peers
def test_orthanc_does_not_know_the_series(tmp_path: Path, spool: Spool) -> None:
    with orthanc(tmp_path / "archive", dicomweb=True) as running, pytest.raises((QueryRefused, RetrievalIncomplete)):
        get_series(peer(running.dicomweb_url), found(1), spool)
    assert spool.series() == []


# -- storing -----------------------------------------------------------------------------------------------------------


def module(stored: dict[int, int] | None = None, failed: dict[int, int] | None = None) -> bytes:
    """A Store Instances Response Module: warning or failure by number of the instance."""

    def item(number: int) -> dict[str, Any]:
        return {
            "00081150": {"vr": "UI", "Value": [CTImageStorage]},
            "00081155": {"vr": "UI", "Value": [f"{SERIES}.{number}"]},
        }

    answer = {}
    if stored:
        warned = {n: {"00081196": {"vr": "US", "Value": [w]}} if w else {} for n, w in stored.items()}
        answer["00081199"] = {"vr": "SQ", "Value": [item(n) | warned[n] for n in stored]}
    if failed:
        items = [item(n) | {"00081197": {"vr": "US", "Value": [reason]}} for n, reason in failed.items()]
        answer["00081198"] = {"vr": "SQ", "Value": items}
    return json.dumps(answer).encode()


def answering(status: int, body: bytes = b"", content_type: str = "application/dicom+json") -> Callable[..., None]:
    def script(request: WebRequest) -> None:
        request.read_body()
        request.answer(status, body, content_type)

    return script


def test_each_object_has_the_status_that_the_service_gave_for_it(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", 3)
    body = module(stored={1: 0, 2: 0xB007}, failed={3: 0xA700})
    with web_service(answering(202, body)) as url, pytest.raises(StoreRefused) as caught:
        store(files, peer(url))
    assert [i.status for i in caught.value.instances] == [0, 0xB007, 0xA700]
    assert (caught.value.status, caught.value.permanent) == (0xA700, False)
    with web_service(answering(200, module(stored={1: 0, 2: 0xB000, 3: 0}))) as url:
        assert [i.is_warning for i in store(files, peer(url)).instances] == [False, True, False]


@pytest.mark.parametrize(
    ("status", "body", "expected", "permanent"),
    [
        (409, module(failed={1: 0xC122}), 0xC122, True),
        (409, module(failed={1: 0xA900}), 0xA900, True),
        (409, b"", 0x0110, False),
        (400, b"what?", 0xC400, True),
        (401, b"", 0x0124, True),
        (403, b"", 0x0124, True),
        (404, b"", 0xC404, True),
        (413, b"", 0xC413, True),
        (415, b"", 0xC415, True),
        (301, b"", 0xC301, True),
        (500, b"", 0x0110, False),
    ],
)
def test_a_refusal_says_whether_trying_again_can_help(
    tmp_path: Path, status: int, body: bytes, expected: int, permanent: bool
) -> None:
    with web_service(answering(status, body)) as url, pytest.raises(StoreRefused) as caught:
        store(write_series(tmp_path / "ct", 1), peer(url))
    assert (caught.value.status, caught.value.permanent) == (expected, permanent)


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_a_service_that_is_overloaded_is_unreachable(tmp_path: Path, status: int) -> None:
    with web_service(answering(status)) as url, pytest.raises(PeerUnreachable, match=str(status)):
        store(write_series(tmp_path / "ct", 2), peer(url))


def test_a_request_that_is_refused_as_a_whole_is_taken_apart(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", 3)

    def script(request: WebRequest) -> None:
        body = request.read_body()
        uids = [n for n in (1, 2, 3) if f"{SERIES}.{n}".encode() in body]
        if len(uids) > 1 or uids == [2]:
            request.answer(400)
        else:
            request.answer(200, module(stored={uids[0]: 0}))

    with web_service(script) as url, pytest.raises(StoreRefused) as caught:
        store(files, peer(url))
    assert [i.status for i in caught.value.instances] == [0, 0xC400, 0]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"not json", b"[" * 100_000, module(stored={2: 0}), b'{"00081199": {"vr": "SQ"}}']
)
def test_an_object_that_the_answer_does_not_mention_is_unknown(tmp_path: Path, body: bytes) -> None:
    with web_service(answering(200, body)) as url, pytest.raises(DeliveryInterrupted) as caught:
        store(write_series(tmp_path / "ct", 1), peer(url))
    assert not caught.value.permanent


def test_what_earlier_requests_brought_is_not_forgotten(tmp_path: Path) -> None:
    answers = iter([module(stored={1: 0}), b""])

    def script(request: WebRequest) -> None:
        request.read_body()
        request.answer(200, next(answers))

    with web_service(script) as url, pytest.raises(DeliveryInterrupted) as caught:
        store(write_series(tmp_path / "ct", 2), peer(url, maximum_request_bytes=1))
    assert [i.sop_instance_uid for i in caught.value.instances] == [f"{SERIES}.1"]


def _hang(request: WebRequest) -> None:
    request.read_body()
    time.sleep(1.0)


def _close(request: WebRequest) -> None:
    request.read_body()
    request.close_connection = True


def _half_an_answer(request: WebRequest) -> None:
    request.read_body()
    request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
    request.close_connection = True


@pytest.mark.parametrize("behaviour", [_hang, _close, _half_an_answer])
def test_no_answer_after_sending_means_unknown(tmp_path: Path, behaviour: Callable[..., None]) -> None:
    with web_service(behaviour) as url, pytest.raises(DeliveryInterrupted):
        store(write_series(tmp_path / "ct", 1), peer(url, response_timeout_s=0.3))


def test_a_service_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(PeerUnreachable):
        store(write_series(tmp_path / "ct", 1), peer(f"http://127.0.0.1:{free_port()}/dicom-web"))


def test_a_large_object_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    path = write_file(tmp_path, small_ct(1, side=4096))
    sizes = []

    def script(request: WebRequest) -> None:
        left = int(request.headers["Content-Length"])
        sizes.append(left)
        while left:
            left -= len(request.rfile.read1(min(left, 1 << 16)))
        request.answer(200, module(stored={1: 0}))

    with web_service(script) as url:
        tracemalloc.start()
        try:
            store([path], peer(url))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert sizes[0] > path.stat().st_size > 30e6
    assert peak < 4e6


# -- who and whom ------------------------------------------------------------------------------------------------------


def test_credentials_come_from_files_and_are_read_anew(tmp_path: Path) -> None:
    seen: list[Any] = []

    def script(request: WebRequest) -> None:
        seen.append((request.headers.get("Authorization"), request.headers.get("X-Key")))
        request.answer(200, b"[]")

    token, password, headers = tmp_path / "token", tmp_path / "password", tmp_path / "headers"
    token.write_text("one\n")
    password.write_text("node:päss:word\n")
    headers.write_text("# for the gateway\nX-Key: k1\n")
    with web_service(script) as url:
        web = peer(url, token_file=token, headers_file=headers)
        echo(web)
        token.write_text("two")
        echo(web)
        echo(peer(url, password_file=password))
        basic = "Basic " + base64.b64encode("node:päss:word".encode("latin1")).decode()
        assert seen == [("Bearer one", "k1"), ("Bearer two", "k1"), (basic, None)]
        token.unlink()
        with pytest.raises(PeerUnreachable, match="credentials"):
            echo(web)


def test_https_needs_a_service_that_we_trust_and_a_certificate_that_it_trusts(tmp_path: Path) -> None:
    made = certificates()
    ours = {"trusted": made.authority, "certificate": made.client.certificate, "key": made.client.key}
    with web_service(answering(200, module(stored={1: 0})), certificates=made) as url:
        files = write_series(tmp_path / "ct", 1)
        assert store(files, peer(url, **ours)).instances[0].is_stored
        for wrong in (
            {"trusted": made.other_authority},
            {"certificate": None, "key": None},
            {"certificate": made.stranger.certificate, "key": made.stranger.key},
            {"trusted": None},
        ):
            with pytest.raises((PeerUnreachable, DeliveryInterrupted)):
                store(files, peer(url, **{**ours, **wrong}))
    with (
        web_service(answering(200), certificates=made, host="127.0.0.2") as elsewhere,
        pytest.raises(PeerUnreachable, match="TLS"),  # its certificate names 127.0.0.1
    ):
        store(files, peer(elsewhere, **ours))


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    asked = []

    def script(request: WebRequest) -> None:
        asked.append(request.path)
        request.send_response(302)
        request.send_header("Location", f"{url}/elsewhere")
        request.send_header("Content-Length", "0")
        request.end_headers()

    with web_service(script) as url, pytest.raises(QueryRefused):
        find_studies(peer(url), patient_id="P1")
    assert len(asked) == 1


# -- asking ------------------------------------------------------------------------------------------------------------


def listing(*rows: dict[str, str]) -> bytes:
    tags = {"study": "0020000D", "series": "0020000E", "image": "00080018", "patient": "00100020", "count": "00201209"}
    vrs = {"patient": "LO", "count": "IS"}
    return json.dumps(
        [{tags[k]: {"vr": vrs.get(k, "UI"), "Value": [v]} for k, v in row.items()} for row in rows]
    ).encode()


def test_answers_that_nobody_asked_for_are_dropped(tmp_path: Path) -> None:
    rows = [
        {"study": STUDY, "patient": "P1"},
        {"study": f"{STUDY}.1", "patient": "CANARY"},
        {"study": "not a uid", "patient": "P1"},
        {"patient": "P1"},
    ]
    with web_service(answering(200, listing(*rows))) as url, capture_logs() as logs:
        assert [s.study_instance_uid for s in find_studies(peer(url), patient_id="P1")] == [STUDY]
    assert len([entry for entry in logs if entry["event"] == "answer_dropped"]) == 3
    assert "CANARY" not in str(logs)


def test_a_service_that_knows_no_offset_does_not_make_an_endless_search() -> None:
    asked = []
    rows = [{"image": f"{SERIES}.{number}"} for number in range(1, 501)]

    def script(request: WebRequest) -> None:
        asked.append(request.path)
        request.answer(200, listing(*rows))

    with web_service(script) as url:
        assert len(stored_instances(peer(url), STUDY, SERIES)) == 500
    assert len(asked) == 2


def test_pages_are_put_together_and_too_many_answers_are_an_error() -> None:
    def script(request: WebRequest) -> None:
        offset = int(request.path.partition("offset=")[2].partition("&")[0])
        rows = [
            {"study": f"{STUDY}.{number}", "patient": "P1"} for number in range(offset + 1, min(offset + 501, 1201))
        ]
        request.answer(200, listing(*rows))

    with web_service(script) as url:
        assert len(find_studies(peer(url), patient_id="P1")) == 1200
        with pytest.raises(QueryTooWide):
            find_studies(peer(url), patient_id="P1", limit=1000)


@pytest.mark.parametrize("body", [b"not json", b"[" * 100_000, b'"text"', b'{"error": 1}', b"[1, 2]"])
def test_an_answer_that_is_no_list_of_answers_does_no_harm(body: bytes) -> None:
    with web_service(answering(200, body)) as url, suppress(QueryRefused):
        assert find_studies(peer(url), patient_id="P1") == []


def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_session, "MAXIMUM_ANSWER_BYTES", 1 << 20)
    sent = []

    def script(request: WebRequest) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[")
        try:
            for _ in range(1000):
                request.wfile.write(b" " * (1 << 16))
                sent.append(1)
        finally:
            request.close_connection = True

    with web_service(script) as url, pytest.raises(PeerUnreachable):
        find_studies(peer(url), patient_id="P1")
    assert len(sent) < 500


# -- fetching ----------------------------------------------------------------------------------------------------------


def multipart(*contents: bytes, end: bool = True) -> bytes:
    body = b"".join(b"\r\n--xyz\r\nContent-Type: application/dicom\r\n\r\n" + content for content in contents)
    return body + (b"\r\n--xyz--" if end else b"")


MULTIPART = 'multipart/related; type="application/dicom"; boundary="xyz"'


def files_of(tmp_path: Path, *numbers: int, series: str = SERIES) -> list[bytes]:
    folder = tmp_path / series
    folder.mkdir(exist_ok=True)
    return [write_file(folder, small_ct(number, series=series)).read_bytes() for number in numbers]


def test_a_whole_answer_is_a_whole_series(tmp_path: Path, spool: Spool) -> None:
    body = multipart(*files_of(tmp_path, 1, 2, 3))
    with web_service(answering(200, body, MULTIPART)) as url:
        assert get_series(peer(url), found(3), spool) == 3
    assert spool.series()[0].is_complete


def test_anything_less_stays_interrupted(tmp_path: Path, spool: Spool) -> None:
    one, two = files_of(tmp_path, 1, 2)
    (other,) = files_of(tmp_path, 1, series=f"{SERIES}.5")
    cases = {
        "no end": multipart(one, end=False),
        "cut off": multipart(one, two)[:-300],
        "one missing": multipart(one),
        "another series": multipart(one, two, other),
        "a broken one": multipart(one, two[:-5]),
        "not DICOM": multipart(one, two, b"hello"),
        "deflated": multipart(one, two.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")),
    }
    for name, body in cases.items():
        with web_service(answering(200, body, MULTIPART)) as url, pytest.raises(RetrievalIncomplete):
            get_series(peer(url), found(2), spool)
        assert not any(series.is_complete for series in spool.series()), name
    assert len(spool.series()) == 1


@pytest.mark.parametrize("status", [404, 406, 500])
def test_a_service_that_does_not_give_the_series_refuses(spool: Spool, status: int) -> None:
    with web_service(answering(status)) as url, pytest.raises(QueryRefused):
        get_series(peer(url), found(2), spool)


def test_an_answer_that_is_not_multipart_is_incomplete(tmp_path: Path, spool: Spool) -> None:
    with (
        web_service(answering(200, files_of(tmp_path, 1)[0], "application/dicom")) as url,
        pytest.raises(RetrievalIncomplete, match="multipart"),
    ):
        get_series(peer(url), found(1), spool)


def test_a_service_that_stops_half_way_is_given_up(tmp_path: Path, spool: Spool) -> None:
    over = threading.Event()
    (one,) = files_of(tmp_path, 1)

    def script(request: WebRequest) -> None:
        request.wfile.write(f"HTTP/1.1 200 OK\r\nContent-Type: {MULTIPART}\r\n\r\n".encode() + multipart(one, one)[:-9])
        over.wait(5)
        request.close_connection = True

    with web_service(script) as url:
        started = time.monotonic()
        with pytest.raises(PeerUnreachable, match="in time"):
            get_series(peer(url, retrieve_timeout_s=0.4), found(2), spool)
        assert time.monotonic() - started < 3
        over.set()
    (series,) = spool.series()
    assert series.interrupted
    assert eventually(lambda: spool.series()[0].open_associations == 0)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_parts_are_found_wherever_the_pieces_are_cut(size: int) -> None:
    contents = [b"", b"a\r\n--xy not the boundary", b"\r\n\r\n", b"\r\n--x" * 50, bytes(300)]
    body = multipart(*contents)
    pieces = [body[k : k + size] for k in range(0, len(body), size)]
    assert list(parts(pieces, b"xyz")) == contents
    assert list(parts([body[2:]], b"xyz")) == contents  # without a line end before the first delimiter
    with pytest.raises(CutOff):
        list(parts([body[:-1]], b"xyz"))


def test_no_url_is_logged_or_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with web_service(answering(500)) as url, pytest.raises(QueryRefused) as caught:
        find_studies(peer(url), patient_id="CANARY")
    with pytest.raises(PeerUnreachable) as gone:
        find_studies(peer(f"http://127.0.0.1:{free_port()}/d"), patient_id="CANARY")
    assert "CANARY" not in caplog.text + str(caught.value) + str(gone.value)


@pytest.mark.peers
def test_what_was_sent_by_dimse_is_found_on_the_web(tmp_path: Path) -> None:
    with orthanc(tmp_path / "archive", dicomweb=True) as running:
        send(write_series(tmp_path / "ct", 2), Destination("archive", running.address))
        assert stored_instances(peer(running.dicomweb_url), STUDY, SERIES) == {f"{SERIES}.1", f"{SERIES}.2"}
