from pathlib import Path

import pytest

from training.insilico.files.whole_folder import WORKSHOP, clear_workshop, whole_folder, write_whole


def test_a_folder_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "NC-001") as folder:
        (folder / "ct").mkdir()
        (folder / "ct" / "0001.dcm").write_text("one")
        assert not (tmp_path / "NC-001").exists()
    assert (tmp_path / "NC-001" / "ct" / "0001.dcm").read_text() == "one"


def test_a_folder_takes_the_place_of_an_older_one_and_keeps_nothing_of_it(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with whole_folder(tmp_path / "NC-001") as folder:
            (folder / content).write_text(content)
    assert [path.name for path in (tmp_path / "NC-001").iterdir()] == ["new"]
    clear_workshop(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["NC-001"]


def fill_half(folder: Path, fault: type[BaseException]) -> None:
    with whole_folder(folder) as unfinished:
        (unfinished / "half").write_text("half")
        raise fault


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
def test_what_fails_leaves_the_older_one_and_nothing_of_the_new(tmp_path: Path, fault: type[BaseException]) -> None:
    with whole_folder(tmp_path / "NC-001") as folder:
        (folder / "old").write_text("old")
    with pytest.raises(fault):
        fill_half(tmp_path / "NC-001", fault)
    assert [path.name for path in (tmp_path / "NC-001").iterdir()] == ["old"]
    assert list((tmp_path / WORKSHOP).iterdir()) == []


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    for content in (b"first, and longer", b"second"):
        write_whole(tmp_path / "manifest.json", content)
        assert (tmp_path / "manifest.json").read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 1
