"""What the viewer is told and given, and what not."""

import io
import shutil
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from dicom_node.audit.trail import audit_folder
from dicom_node.jobs.cases import CaseFolder
from dicom_node.pages.lung_views import MAP_RANGE_PERCENT
from dicom_node.settings.config import NodeSettings
from dicom_node.web.access.rights import PageRole
from dicom_node.web.app import create_app
from dicom_node.web.viewer.slice_pictures import PLANES, SliceLook, slice_picture
from dicom_node.web.viewer.view_facts import shown_table
from dicom_node.web.viewer.volume_cache import VolumeCache
from tests.audit_messages import read_lines
from tests.dicom_node.web.conftest import ClientFor, browser
from tests.dicom_node.web.viewer.view_cases import (
    BONE_MM,
    COLD,
    COLD_MM,
    HOT,
    HOT_MM,
    LUNG_HU,
    PATIENT,
    STORED,
    WORST,
    begin_case,
    write_case,
    write_held,
)

LOOK = "from_hu=-1350&to_hu=150&outlines=false"


@pytest.fixture
def case(node_settings: NodeSettings) -> CaseFolder:
    made = write_case(node_settings)
    write_held(node_settings.data_dir, made)
    return made


@pytest.fixture
def viewer(client_for: ClientFor) -> Iterator[TestClient]:
    return client_for(PageRole.VIEWER)


def api(case: CaseFolder | str, what: str) -> str:
    return f"/api/v1/cases/{case if isinstance(case, str) else case.case_id}/{what}"


def test_the_viewer_is_told_what_it_shows(viewer: TestClient, case: CaseFolder) -> None:
    facts = viewer.get(api(case, "view")).json()
    assert facts["qualification"] == "RESEARCH"
    assert facts["state"] == "HELD"
    assert "not released" in facts["not_released"]
    assert facts["grid"] == {"shape": [40, 64, 64], "affine": PATIENT.affine.tolist()}
    assert facts["map_range"] == list(MAP_RANGE_PERCENT)
    assert len(facts["colours"]) == 256
    result = facts["result"]
    assert result["model"] == "stand-in-map 3"
    assert result["worst"] == {"severity": "flag", "code": WORST.code, "sentence": WORST.sentence, "others": 1}
    assert (result["lung_first"], result["lung_last"]) == ([6, 14, 10], [35, 49, 53])
    assert 10 <= result["cuts"][2] < 30  # through the right lung
    assert sorted(facts["volumes"]) == ["ct", "ct-coarse", "function", "lobes", "map", "map-coarse"]
    assert all(viewer.get(address).status_code == 200 for address in facts["volumes"].values())


def test_a_case_without_findings_says_so(viewer: TestClient, node_settings: NodeSettings) -> None:
    case = write_case(node_settings, findings=())
    write_held(node_settings.data_dir, case)
    assert viewer.get(api(case, "view")).json()["result"]["worst"] is None


def test_a_case_that_came_to_no_result_shows_its_ct(viewer: TestClient, case: CaseFolder) -> None:
    case.result.unlink()
    facts = viewer.get(api(case, "view")).json()
    assert facts["result"] is None
    assert facts["not_released"] == ""
    assert sorted(facts["volumes"]) == ["ct", "ct-coarse"]
    for name in ("map", "map-coarse", "lobes", "function"):
        answer = viewer.get(api(case, f"volumes/{name}.nii"))
        assert (answer.status_code, answer.json()["code"]) == (404, "NO_RESULT")
    assert viewer.get(api(case, "slices/axial/20.png")).status_code == 200


def test_a_case_that_was_not_read_yet_has_nothing_to_show(viewer: TestClient, node_settings: NodeSettings) -> None:
    case = begin_case(node_settings)
    for what in ("view", "volumes/ct.nii", "slices/axial/0.png"):
        answer = viewer.get(api(case, what))
        assert (answer.status_code, answer.json()["code"]) == (404, "NO_CT")


@pytest.mark.parametrize("case_id", ["0123456789abcdef", "nonsense", "..%2f..%2fetc", "0" * 15])
def test_unknown_cases_are_not_found(viewer: TestClient, case_id: str) -> None:
    for what in ("view", "volumes/ct.nii", "slices/axial/0.png"):
        assert viewer.get(api(case_id, what)).status_code == 404
    assert viewer.get(f"/cases/{case_id}/viewer").status_code == 404


def test_a_case_that_was_removed_is_not_found(viewer: TestClient, case: CaseFolder) -> None:
    assert viewer.get(api(case, "volumes/map.nii")).status_code == 200
    shutil.rmtree(case.path)
    for what in ("view", "volumes/map.nii", "slices/coronal/3.png"):
        answer = viewer.get(api(case, what))
        assert (answer.status_code, answer.json()["code"]) == (404, "UNKNOWN_CASE")
    assert not case.path.exists()


def test_a_ct_that_goes_while_it_is_looked_for_is_a_calm_answer(viewer: TestClient, case: CaseFolder) -> None:
    case.ct.with_suffix(".json").unlink()
    answer = viewer.get(api(case, "volumes/ct.nii"))
    assert (answer.status_code, answer.json()["code"]) == (404, "CASE_REMOVED")


def test_a_volume_is_sent_once_while_it_stays_the_same(viewer: TestClient, case: CaseFolder) -> None:
    first = viewer.get(api(case, "volumes/ct.nii"))
    assert int(first.headers["content-length"]) == len(first.content) == 352 + 2 * 40 * 64 * 64
    again = viewer.get(api(case, "volumes/ct.nii"), headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = viewer.get(api(case, "volumes/ct.nii"), headers={"If-None-Match": '"another"'})
    assert other.content == first.content
    assert "private" in first.headers["cache-control"]


def test_labels_are_packed_for_whoever_unpacks(viewer: TestClient, case: CaseFolder) -> None:
    packed = viewer.get(api(case, "volumes/lobes.nii"), headers={"Accept-Encoding": "gzip"})
    plain = viewer.get(api(case, "volumes/lobes.nii"), headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(plain.content) / 10
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content
    assert packed.headers["etag"] != plain.headers["etag"]
    assert "content-encoding" not in viewer.get(api(case, "volumes/ct.nii")).headers


def test_nobody_sees_anything_without_signing_in(node_settings: NodeSettings, case: CaseFolder) -> None:
    with browser(create_app(node_settings)) as nobody:
        for what in ("view", "volumes/ct.nii", "slices/axial/0.png"):
            assert nobody.get(api(case, what)).status_code == 401
        assert nobody.get(f"/cases/{case.case_id}/viewer").status_code == 303


def test_a_view_is_told_to_the_audit_trail_once(
    viewer: TestClient, node_settings: NodeSettings, case: CaseFolder
) -> None:
    for what in ("view", "volumes/ct.nii", "volumes/map.nii", "slices/axial/3.png"):
        assert viewer.get(api(case, what)).status_code == 200
    (log_file,) = audit_folder(node_settings.data_dir).glob("*.log")
    seen = [line for line in read_lines(log_file) if case.case_id.encode() in _text(line)]
    assert [line.event for line in seen] == ["DICOM Instances Accessed"]
    assert b"viewer-1" in _text(seen[0])


def _text(line: object) -> bytes:
    from lxml import etree

    return etree.tostring(line.xml)  # type: ignore[attr-defined, no-any-return]


# -- slices as pictures, for browsers that cannot draw volumes ---------------------------------------------------------


def pixel(png: bytes, plane: str, mm: tuple[float, float, float]) -> tuple[float, ...]:
    """Red, green and blue of a slice at a place of the patient."""
    image = np.asarray(Image.open(io.BytesIO(png))).astype(float)
    z, y, x = (PATIENT.to_index(np.array(mm)) + 0.5) / PATIENT.shape
    across, down = {"axial": (x, y), "coronal": (x, 1 - z), "sagittal": (y, 1 - z)}[plane]
    return tuple(image[int(down * image.shape[0]), int(across * image.shape[1])])


def shown(percent: float, opacity: float) -> tuple[float, ...]:
    """The colour of the map over lung."""
    grey = 255 * (LUNG_HU + 1350) / 1500
    colour = shown_table()[min(round(percent / 200 * 255), 255)]
    return tuple(opacity * part + (1 - opacity) * grey for part in colour)


def number_of(plane: str, mm: tuple[float, float, float]) -> int:
    axis = {"axial": 0, "coronal": 1, "sagittal": 2}[plane]
    return round(float(PATIENT.to_index(np.array(mm))[axis]))


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("stored", STORED)
def test_a_slice_shows_each_corner_where_it_is(node_settings: NodeSettings, plane: str, stored: str) -> None:
    cache = VolumeCache(write_case(node_settings, stored))

    def at(mm: tuple[float, float, float], threshold: float = 0.0) -> tuple[float, ...]:
        look = SliceLook((-1350.0, 150.0), 0.5, threshold, has_outlines=False)
        number = number_of(plane, mm)
        return pixel(slice_picture(cache, PATIENT, PLANES[plane], number, look, has_result=True), plane, mm)

    assert at(HOT_MM) == pytest.approx(shown(100 * HOT, 0.5), abs=3)
    assert at(COLD_MM) == pytest.approx(shown(100 * COLD, 0.5), abs=3)
    assert at(BONE_MM) == pytest.approx((255, 255, 255), abs=1)
    assert at(COLD_MM, 50.0) == pytest.approx(shown(0, 0.0), abs=2)
    assert at(HOT_MM, 50.0) == pytest.approx(shown(100 * HOT, 0.5), abs=3)


def test_a_slice_is_drawn_as_it_is_asked_for(viewer: TestClient, case: CaseFolder) -> None:
    address = api(case, f"slices/coronal/{number_of('coronal', COLD_MM)}.png?{LOOK}&opacity=0.25")
    answer = viewer.get(address)
    assert answer.headers["content-type"] == "image/png"
    assert pixel(answer.content, "coronal", COLD_MM) == pytest.approx(shown(100 * COLD, 0.25), abs=3)
    hidden = viewer.get(f"{address}&threshold=50").content
    assert pixel(hidden, "coronal", COLD_MM) == pytest.approx(shown(0, 0.0), abs=2)
    dark = viewer.get(address.replace("to_hu=150", "to_hu=5000")).content
    assert max(pixel(dark, "coronal", BONE_MM)) < 100


def test_outlines_are_drawn_over_a_slice(viewer: TestClient, case: CaseFolder) -> None:
    address = api(case, f"slices/axial/{number_of('axial', HOT_MM)}.png?opacity=0&outlines=")
    plain, outlined = (
        np.asarray(Image.open(io.BytesIO(viewer.get(address + way).content))) for way in ("false", "true")
    )
    drawn = np.argwhere((plain != outlined).any(axis=-1))
    assert 0 < len(drawn) < 0.05 * plain.shape[0] * plain.shape[1]


@pytest.mark.parametrize("number", [-1, 40, 10**9])
def test_a_slice_that_is_not_there_is_not_found(viewer: TestClient, case: CaseFolder, number: int) -> None:
    answer = viewer.get(api(case, f"slices/axial/{number}.png"))
    assert (answer.status_code, answer.json()["code"]) == (404, "NO_SLICE")


@pytest.mark.parametrize("look", ["opacity=2", "from_hu=x", "threshold=-1", "to_hu=nan"])
def test_a_look_that_makes_no_sense_is_refused(viewer: TestClient, case: CaseFolder, look: str) -> None:
    assert viewer.get(api(case, f"slices/axial/3.png?{look}")).status_code == 422


def test_the_page_of_the_viewer_holds_no_script_or_style_of_its_own(viewer: TestClient, case: CaseFolder) -> None:
    text = viewer.get(f"/cases/{case.case_id}/viewer").text
    assert f'data-case="{case.case_id}"' in text
    assert "style=" not in text
    assert text.count("<script") == text.count("<script src=") + text.count('<script type="module" src=')
