"""`perfnode` as a user meets it: the demo, processing without a network, and refusals on the console."""

from pathlib import Path

from pydicom import Dataset, dcmread

from inference.ct_instances import ct_instances
from inference.thorax import ThoraxVariant, draw_thorax
from tests.running_node import perfnode, save_instances


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


def test_processing_twice_in_two_processes_gives_the_same_bytes(tmp_path: Path, thorax_files: list[Path]) -> None:
    made = []
    for name in ("one", "two"):
        out = tmp_path / name
        done = perfnode("process", str(thorax_files[0].parent), "--out", str(out))
        assert done.returncode == 0, done.stdout + done.stderr
        made.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert set(made[0]) == {"parametric-map.dcm", "structure-set.dcm", "summary.png"}
    assert made[0] == made[1]


def test_process_says_in_one_line_why_a_series_is_refused(tmp_path: Path, thorax_instances: list[Dataset]) -> None:
    save_instances(thorax_instances[:5], tmp_path / "ct")
    done = perfnode("process", str(tmp_path / "ct"), "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert done.stderr.startswith("TOO_FEW_SLICES: The series has 5 slice(s)")
    assert not (tmp_path / "out").exists()


def test_objects_say_that_they_are_research_and_that_the_engines_are_approximate(
    tmp_path: Path, thorax_files: list[Path]
) -> None:
    done = perfnode("process", str(thorax_files[0].parent), "--out", str(tmp_path))
    assert "not a trained network" in done.stdout
    assert "pproximate" in done.stdout
    perfusion = dcmread(tmp_path / "parametric-map.dcm", stop_before_pixels=True)
    structures = dcmread(tmp_path / "structure-set.dcm", stop_before_pixels=True)
    assert perfusion.ContentQualification == "RESEARCH"
    assert "RESEARCH" in structures.StructureSetLabel
    assert "pproximate" in structures.StructureSetDescription
