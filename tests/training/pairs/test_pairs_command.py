"""The commands an administrator gives: import, list, look, accept, reject; the store holds nothing of the patient."""

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from inference.phantom.thorax import DigitalThorax
from tests.training.pairs.hospital_files import PATIENT, ct_files, nuclear, registration, save, turned
from tests.training.pairs.moved_spect import spect_of
from training.commands.pairs import app
from training.pairs.review import accepted_pairs, verdict_on
from training.store.study_store import StudyStore

MOVEMENT = turned((4, -3, 6), (25, -18, 30))


@pytest.fixture(scope="module")
def folder(thorax: DigitalThorax, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One patient, with CT and SPECT linked by a registration object."""
    here = tmp_path_factory.mktemp("hospital")
    ct_files(thorax.ct, here / "ct")
    values, grid = spect_of(thorax, MOVEMENT, frame_uid="2.25.77")
    save(nuclear(values, grid), here / "spect.dcm")
    save(registration("2.25.77", [(thorax.ct.grid.frame_of_reference_uid, MOVEMENT.inverse)]), here / "reg.dcm")
    return here


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.output


def test_from_a_folder_to_an_accepted_pair(folder: Path, tmp_path: Path) -> None:
    store, out = tmp_path / "store", tmp_path / "pages"
    status, text = run("import", folder, "--store", store, "--by", "A. Admin")
    assert (status, "1 of 1 patients" in text) == (0, True), text
    opened = StudyStore.open(store)
    (pair,) = opened.pairs()
    assert pair.link.kind == "registration-object"
    assert pair.link.matrix == pytest.approx(MOVEMENT.matrix, abs=1e-6)
    assert accepted_pairs(opened) == ()
    assert run("import", folder, "--store", store, "--by", "A. Admin")[0] == 0
    assert len(opened.pairs()) == 1

    status, text = run("review", "--store", store, "--out", out)
    assert status == 0, text
    with Image.open(out / f"{pair.name}.png") as picture:
        assert picture.size[0] > 600
    assert pair.name in (out / "index.html").read_text()

    assert run("reject", pair.name, "--store", store, "--by", "B. Physicist", "--reason", "too far off")[0] == 0
    assert accepted_pairs(opened) == ()
    assert run("accept", pair.name, "--store", store, "--by", "B. Physicist", "--reason", "lies well")[0] == 0
    assert [each.name for each in accepted_pairs(opened)] == [pair.name]
    assert "accepted" in run("list", "--store", store)[1]
    assert opened.verify() == ()
    everything = b"".join(path.read_bytes() for path in [*store.rglob("*"), *out.rglob("*")] if path.is_file())
    assert not [word for word in (PATIENT.name, PATIENT.patient_id, "ZZCANARY") if word.encode() in everything]

    manifest = pair.folder / "pair.json"
    manifest.write_text(manifest.read_text().replace('"mutual_information": ', '"mutual_information": 1'))
    assert verdict_on(opened, opened.pair(pair.name)) is None  # another link, another decision
    assert opened.verify() != ()


def test_a_verdict_without_a_name_or_of_no_pair_is_refused(tmp_path: Path) -> None:
    store = tmp_path / "store"
    StudyStore.create(store)
    status, text = run("accept", "nobody", "--store", store, "--by", " ", "--reason", "x")
    assert (status, "REVIEW_REFUSED" in text) == (2, True)
    status, text = run("accept", "nobody", "--store", store, "--by", "B", "--reason", "x")
    assert (status, "STORE_UNUSABLE" in text) == (2, True)


def test_a_folder_without_pairs_ends_with_status_1_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "letter.txt").write_text("no DICOM")
    status, text = run("import", tmp_path / "in", "--store", tmp_path / "store", "--by", "A")
    assert (status, "NOT_DICOM" in text) == (1, True)
