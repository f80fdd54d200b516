"""Volumes are made once, go with their case, and take no more disk than they may."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dicom_node.jobs.cases import CaseFolder
from dicom_node.web.viewer.volume_cache import VIEW_FOLDER, VolumeCache
from dicom_node.web.viewer.volumes import VolumeName
from tests.dicom_node.web.viewer.view_cases import write_arrays


def case_in(root: Path, name: str) -> CaseFolder:
    case = CaseFolder(root / name)
    case.path.mkdir()
    write_arrays(case)
    return case


@pytest.fixture
def case(tmp_path: Path) -> CaseFolder:
    return case_in(tmp_path, "a")


def files(case: CaseFolder) -> set[str]:
    return {path.name.split("-")[0] for path in (case.path / VIEW_FOLDER).glob("*.nii*")}


def test_many_who_ask_at_once_get_the_same_file(case: CaseFolder) -> None:
    def ask(_: int) -> tuple[int, bytes]:
        with VolumeCache(case).opened(VolumeName.MAP) as file:
            return os.fstat(file.fileno()).st_ino, file.read()

    with ThreadPoolExecutor(12) as pool:
        answers = set(pool.map(ask, range(24)))
    assert len(answers) == 1
    assert len(list((case.path / VIEW_FOLDER).glob("map-*"))) == 1


def test_another_result_is_another_version_and_the_old_one_goes(case: CaseFolder) -> None:
    cache = VolumeCache(case)
    ct, before = cache.version(VolumeName.CT), cache.version(VolumeName.MAP)
    cache.opened(VolumeName.MAP).close()
    write_arrays(case, "FFS")
    assert cache.version(VolumeName.MAP) != before
    cache.opened(VolumeName.MAP).close()
    (only,) = (case.path / VIEW_FOLDER).glob("map-*")
    assert only.name == f"map-{cache.version(VolumeName.MAP)}.nii"
    assert cache.version(VolumeName.CT) != ct  # written anew, too


def test_one_version_of_a_volume_does_not_push_out_its_coarse_twin(case: CaseFolder) -> None:
    cache = VolumeCache(case)
    for name in (VolumeName.CT_COARSE, VolumeName.CT):
        cache.opened(name).close()
    assert {path.name.rsplit("-", 1)[0] for path in (case.path / VIEW_FOLDER).glob("*.nii")} == {"ct", "ct-coarse"}


def test_nothing_is_left_and_nothing_made_of_a_case_that_was_removed(case: CaseFolder) -> None:
    file = VolumeCache(case).opened(VolumeName.CT)
    shutil.rmtree(case.path)
    with file:
        assert len(file.read()) == 352 + 2 * 40 * 64 * 64
    with pytest.raises(FileNotFoundError):
        VolumeCache(case).opened(VolumeName.CT)
    assert not case.path.exists()


def test_a_case_without_a_result_has_no_map(case: CaseFolder) -> None:
    case.result.unlink()
    with pytest.raises(FileNotFoundError):
        VolumeCache(case).opened(VolumeName.MAP)
    VolumeCache(case).opened(VolumeName.CT).close()


def test_what_was_seen_longest_ago_goes_when_the_disk_is_to_be_spared(tmp_path: Path) -> None:
    cases = [case_in(tmp_path, name) for name in ("old", "seen", "new")]
    for age_s, case in ((300, cases[0]), (200, cases[1])):
        VolumeCache(case).opened(VolumeName.CT).close()
        for path in (case.path / VIEW_FOLDER).glob("*.nii"):
            os.utime(path, (path.stat().st_mtime - age_s,) * 2)
    VolumeCache(cases[1]).opened(VolumeName.CT).close()  # looked at again: now the newest
    room = 2 * (352 + 2 * 40 * 64 * 64)
    VolumeCache(cases[2], most_bytes=room).opened(VolumeName.CT).close()
    assert [files(case) for case in cases] == [set(), {"ct"}, {"ct"}]


def test_a_volume_larger_than_all_room_is_given_all_the_same(case: CaseFolder) -> None:
    with VolumeCache(case, most_bytes=10).opened(VolumeName.LOBES, packed=True) as file:
        assert file.read(2) == b"\x1f\x8b"


def test_what_a_killed_process_left_is_swept_away(case: CaseFolder) -> None:
    folder = case.path / VIEW_FOLDER
    folder.mkdir()
    (folder / "ct-0123456789abcdef.nii.0123456789ab.part").write_bytes(b"half")
    VolumeCache(case).opened(VolumeName.CT).close()
    assert list(folder.glob("*.part")) == []
