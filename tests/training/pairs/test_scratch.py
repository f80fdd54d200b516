"""Files that name patients lie in a folder that nobody else reads and that is gone afterwards, however that ends."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from training.pairs.scratch import scratch_folder


def busy() -> Exception:
    return RuntimeError("busy")


def filled(folder: Path) -> None:
    (folder / "in" / "series").mkdir(parents=True)
    (folder / "in" / "series" / "a.dcm").write_text("ZZCANARY")
    (folder / "link").symlink_to(folder.parent / "kept.txt")


def test_it_is_for_its_owner_alone_empty_and_removed(tmp_path: Path) -> None:
    path = tmp_path / ".store.fetching"
    (tmp_path / "kept.txt").write_text("not ours")
    path.mkdir(mode=0o755)
    filled(path)  # what kill -9 left
    with scratch_folder(path, busy):
        assert list(path.iterdir()) == []
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        filled(path)
        with pytest.raises(RuntimeError, match="busy"), scratch_folder(path, busy):
            pass
        assert (path / "in").exists()  # the other one took nothing away
    assert [each.name for each in tmp_path.iterdir()] == ["kept.txt"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_it_is_removed_if_something_fails_inside(tmp_path: Path) -> None:
    def twice(path: Path) -> None:
        filled(path)
        filled(path)

    with pytest.raises(FileExistsError), scratch_folder(tmp_path / "x", busy) as path:
        twice(path)
    assert not path.exists()


def test_it_is_removed_if_the_program_is_told_to_end(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom training.pairs.scratch import scratch_folder\n"
        "with scratch_folder(Path(sys.argv[1]), RuntimeError) as path:\n"
        "    (path / 'a').mkdir()\n    print('ready', flush=True)\n    time.sleep(60)\n"
    )
    path = tmp_path / "x"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM
    assert not path.exists()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "precious").write_text("x")
    (tmp_path / "x").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="x"), scratch_folder(tmp_path / "x", busy):
        pass
    assert (tmp_path / "other" / "precious").exists()
