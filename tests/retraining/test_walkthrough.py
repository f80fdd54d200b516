"""The reader of pages: what it takes for a command, and what it takes for a difference."""

from pathlib import Path

import pytest

from tests.retraining.walkthrough import Page, Step, Walk

PAGE = """# A page

    $ not a command

```toml site.toml
port = 104
```

```console
$ echo 'P0123456789ab-01234567  open  0.91' 'x' \\
    '3 of 3'
P0123456789ab-01234567  open  0.95 x 3 of 3
```

```console status=3
$ echo accepted P0123456789ab-01234567
accepted P0123456789ab-01234567
$ exit 3
```
"""


def page(tmp_path: Path, text: str = PAGE) -> Page:
    (tmp_path / "page.md").write_text(text)
    return Page.read(tmp_path / "page.md")


def walk(tmp_path: Path) -> Walk:
    return Walk(tmp_path, {"PATH": "/usr/bin:/bin"})


def shows(tmp_path: Path, shown: str, printed: str) -> bool:
    return walk(tmp_path).missing(Step(1, "x", tuple(shown.splitlines()), 0), printed) is None


def test_commands_outputs_statuses_and_files_are_found(tmp_path: Path) -> None:
    found = page(tmp_path)
    assert [(step.line, step.status, len(step.shown)) for step in found.steps] == [(10, 0, 1), (16, 0, 1), (18, 3, 0)]
    assert found.steps[0].command == "echo 'P0123456789ab-01234567  open  0.91' 'x' '3 of 3'"
    assert found.files == {"site.toml": "port = 104\n"}


def test_a_page_is_run_and_a_status_other_than_its_own_is_told(tmp_path: Path) -> None:
    found = page(tmp_path, PAGE.replace("$ echo 'P0123456789ab-01234567", "$ echo 'Pffffffffffff-ffffffff"))
    somebody = walk(tmp_path)
    with pytest.raises(AssertionError, match="was never printed"):
        somebody.run(found.steps[0])
    somebody = walk(tmp_path)
    for step in (
        Step(1, "printf 'P%s%s-%s%s\\n' fedc16 987654 fedc '1698'", ("P0123456789ab-01234567",), 0),
        *page(tmp_path).steps[1:],
    ):
        done = somebody.run(step)
        assert "P0123" not in done.stdout
    with pytest.raises(AssertionError, match="status 1, 0 on the page"):
        somebody.run(Step(1, "false", (), 0))


@pytest.mark.parametrize(
    ("shown", "printed", "is_same"),
    [
        ("10 of 10 patients", "10 of 10 patients", True),
        ("10 of 10 patients", "9 of 10 patients", False),
        ("took 12 s, 0.5 MB", "took 3 s, 18.25 MB", True),
        ("took 12 s", "took long", False),
        ("took 0:00:12", "took 1:02:03", True),
        ("a\n...\nz", "a\nb\nc\nz", True),
        ("a\nz", "a\nb\nz", False),
        ("a\n...", "a\nb", True),
        ("a", "a\nb", False),
        ("", "anything", True),
        ("in ...: done", "in /tmp/x y: done", True),
        ("0123456789ab and 0123456789ab", "ffffffffffff and ffffffffffff", True),
        ("0123456789ab and 0123456789ab", "ffffffffffff and eeeeeeeeeeee", False),
        ("a   b", "a b", True),
    ],
)
def test_what_is_the_same_and_what_is_not(tmp_path: Path, shown: str, printed: str, is_same: bool) -> None:
    assert shows(tmp_path, shown, printed) is is_same


def test_a_name_stays_the_one_that_was_learned_and_may_be_cut_short(tmp_path: Path) -> None:
    somebody = walk(tmp_path)
    assert somebody.missing(Step(1, "x", ("case 0123456789abcdef",), 0), "case aaaabbbbccccdddd") is None
    assert somebody.missing(Step(2, "x", ("case 0123456789abcdef",), 0), "case 1111222233334444") is not None
    assert somebody.command(Step(3, "show 0123456789", (), 0)) == "show aaaabbbbcc"
