"""`perfnode` as a user meets it: the demo, processing without a network, and refusals on the console."""

import json
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from dicom_node.objects.kinds import ObjectKind
from inference.ct.instances import ct_instances
from inference.phantom.thorax import ThoraxVariant, draw_thorax
from tests.running_node import perfnode, save_instances

pytestmark = pytest.mark.slow  # `make test-long`


@pytest.fixture
def baseline(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The option for a site whose map is the baseline's: quick, and with known values."""
    site = tmp_path_factory.mktemp("site") / "site.toml"
    site.write_text('[inference]\nperfusion = "densitometric"\n')
    return "--config", str(site)


def test_demo_brings_map_structure_set_picture_and_table(tmp_path: Path) -> None:
    done = perfnode("demo", "--out", str(tmp_path / "demo"))
    assert done.returncode == 0, done.stdout + done.stderr
    for wanted in ("DELIVERED", "RUL", "RML", "LLL", "Parametric Map Storage", "RT Structure Set Storage"):
        assert wanted in done.stdout
    assert (tmp_path / "demo" / "summary.png").read_bytes().startswith(b"\x89PNG")


def test_demo_fails_when_the_ct_has_no_lungs(tmp_path: Path) -> None:
    save_instances(ct_instances(draw_thorax(variant=ThoraxVariant.NO_LUNGS).ct), tmp_path / "ct")
    done = perfnode("demo", "--ct", str(tmp_path / "ct"), "--out", str(tmp_path / "demo"))
    assert done.returncode == 2
    assert "DEMO_FAILED" in done.stderr
    assert "LUNGS_NOT_FOUND" in done.stdout


def test_processing_twice_in_two_processes_gives_the_same_bytes(
    tmp_path: Path, thorax_files: list[Path], baseline: tuple[str, str]
) -> None:
    made = []
    for name in ("one", "two"):
        out = tmp_path / name
        done = perfnode("process", str(thorax_files[0].parent), "--out", str(out), "--object", "all", *baseline)
        assert done.returncode == 0, done.stdout + done.stderr
        made.append({path.name: path.read_bytes() for path in out.iterdir()})
    several = (ObjectKind.MR_TWIN, ObjectKind.SEGMENTATION)
    kinds = [kind for kind in ObjectKind if kind not in (*several, ObjectKind.REFUSAL_NOTICE)]
    kinds += ["segmentation.lobes", "segmentation.function"]
    twin = {f"mr-twin-{number:04d}.dcm" for number in range(1, len(thorax_files) + 1)}
    assert set(made[0]) == {*(f"{kind}.dcm" for kind in kinds), *twin, "summary.png"}
    assert [name for name in made[0] if made[0][name] != made[1][name]] == []


def test_check_finds_nothing_in_our_objects_and_a_planted_fault_in_one_of_them(
    tmp_path: Path, thorax_files: list[Path], baseline: tuple[str, str]
) -> None:
    made = perfnode("process", str(thorax_files[0].parent), "--out", str(tmp_path), "--object", "all", *baseline)
    assert made.returncode == 0
    clean = perfnode("check", str(tmp_path), str(thorax_files[0].parent))
    assert clean.returncode == 0, clean.stdout + clean.stderr
    structures = dcmread(tmp_path / "structure-set.dcm")
    structures.StructureSetROISequence[1].ROIName = "LUNGS"
    structures.save_as(tmp_path / "structure-set.dcm", enforce_file_format=True)
    faulty = perfnode("check", str(tmp_path), str(thorax_files[0].parent))
    assert faulty.returncode == 1
    assert "ROI_NAME_REPEATED" in faulty.stdout
    listed = json.loads(perfnode("check", "--json", str(tmp_path / "structure-set.dcm")).stdout)
    assert "ROI_NAME_REPEATED" in {fault["code"] for fault in listed["faults"]}


def test_process_refuses_a_report_without_what_it_refers_to(
    tmp_path: Path, thorax_files: list[Path], baseline: tuple[str, str]
) -> None:
    done = perfnode("process", str(thorax_files[0].parent), "--out", str(tmp_path), "--object", "report", *baseline)
    assert done.returncode == 2
    assert "must be ordered too" in done.stderr


def test_process_says_in_one_line_why_a_series_is_refused(
    tmp_path: Path, thorax_instances: list[Dataset], baseline: tuple[str, str]
) -> None:
    save_instances(thorax_instances[:5], tmp_path / "ct")
    done = perfnode("process", str(tmp_path / "ct"), "--out", str(tmp_path / "out"), *baseline)
    assert done.returncode == 2
    assert done.stderr.startswith("TOO_FEW_SLICES: The series has 5 slice(s)")
    assert not (tmp_path / "out").exists()


def test_objects_say_that_they_are_research_and_that_the_engines_are_approximate(
    tmp_path: Path, thorax_files: list[Path], baseline: tuple[str, str]
) -> None:
    done = perfnode("process", str(thorax_files[0].parent), "--out", str(tmp_path), *baseline)
    assert "not a trained network" in done.stdout
    assert "pproximate" in done.stdout
    perfusion = dcmread(tmp_path / "parametric-map.dcm", stop_before_pixels=True)
    structures = dcmread(tmp_path / "structure-set.dcm", stop_before_pixels=True)
    assert perfusion.ContentQualification == "RESEARCH"
    assert "RESEARCH" in structures.StructureSetLabel
    assert "pproximate" in structures.StructureSetDescription
