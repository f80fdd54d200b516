"""Accounts in their file."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from dicom_node.errors import AccountRefused, UnknownAccount
from dicom_node.web.access.accounts import Accounts
from dicom_node.web.access.passwords import fits
from dicom_node.web.access.rights import PageRole

PASSWORD = "a quiet morning"  # noqa: S105  # of nobody


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    made = Accounts.under(tmp_path)
    made.add("Ada Byron", PageRole.APPROVER, PASSWORD, "2026-11-26")
    return made


def test_an_account_is_found_by_its_name_in_any_case(accounts: Accounts, tmp_path: Path) -> None:
    found = Accounts.under(tmp_path).get("ada byron")
    assert found is not None
    assert (found.name, found.role, found.created) == ("Ada Byron", PageRole.APPROVER, "2026-11-26")
    assert fits(PASSWORD, found.password_hash)
    assert accounts.get("ada") is None


def test_the_file_is_for_the_node_alone_and_holds_no_password(accounts: Accounts, tmp_path: Path) -> None:
    file = tmp_path / "web" / "accounts.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert PASSWORD not in file.read_text()


def test_without_a_file_there_is_nobody(tmp_path: Path) -> None:
    assert Accounts.under(tmp_path).all() == []
    assert Accounts.under(tmp_path).get("ada") is None


def test_a_change_is_seen_by_who_has_read_the_file_before(accounts: Accounts, tmp_path: Path) -> None:
    page = Accounts.under(tmp_path)
    before = page.get("Ada Byron")
    accounts.set_role("ada byron", PageRole.VIEWER)
    after = page.get("Ada Byron")
    assert before is not None
    assert after is not None
    assert after.role is PageRole.VIEWER
    assert after.mark != before.mark


def test_another_password_is_another_mark_and_the_old_one_fits_no_more(accounts: Accounts) -> None:
    before = accounts.get("Ada Byron")
    accounts.set_password("Ada Byron", "another morning")
    after = accounts.get("Ada Byron")
    assert before is not None
    assert after is not None
    assert after.mark != before.mark
    assert not fits(PASSWORD, after.password_hash)
    assert fits("another morning", after.password_hash)


def test_a_removed_account_is_gone(accounts: Accounts) -> None:
    accounts.remove("ADA BYRON")
    assert accounts.all() == []


def test_nobody_has_the_name_of_somebody_else(accounts: Accounts) -> None:
    with pytest.raises(AccountRefused, match="Ada Byron already"):
        accounts.add("ada byron", PageRole.ADMINISTRATOR, PASSWORD, "2026-11-26")
    assert [account.role for account in accounts.all()] == [PageRole.APPROVER]


@pytest.mark.parametrize("name", ["", " ada", "ada ", "a\nb", "<b>", "a" * 65, "ada\x00", "a/b", "-ada"])
def test_what_is_no_name_is_refused(accounts: Accounts, name: str) -> None:
    with pytest.raises(AccountRefused, match="a name has"):
        accounts.add(name, PageRole.VIEWER, PASSWORD, "2026-11-26")


@pytest.mark.parametrize("name", ["a", "Zoë Müller", "j.d-2@clinic.example", "a" * 64])
def test_names_of_people_are_taken(accounts: Accounts, name: str) -> None:
    assert accounts.add(name, PageRole.VIEWER, PASSWORD, "2026-11-26").name == name


def test_whom_nobody_knows_cannot_be_changed(accounts: Accounts) -> None:
    with pytest.raises(UnknownAccount):
        accounts.set_role("bob", PageRole.VIEWER)
    with pytest.raises(UnknownAccount):
        accounts.set_password("bob", PASSWORD)
    with pytest.raises(UnknownAccount):
        accounts.remove("bob")


def test_a_change_that_fails_leaves_the_file_as_it_is(accounts: Accounts, tmp_path: Path) -> None:
    file = tmp_path / "web" / "accounts.json"
    before = file.read_bytes()
    with pytest.raises(AccountRefused):
        accounts.set_password("Ada Byron", "short")
    assert file.read_bytes() == before


def test_changes_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    names = [f"person-{number}" for number in range(6)]
    for name in names:
        Accounts.under(tmp_path).add(name, PageRole.VIEWER, PASSWORD, "2026-11-26")
    for role in (*PageRole, *PageRole):
        begin = Barrier(len(names))

        def change(name: str, role: PageRole = role, begin: Barrier = begin) -> None:
            begin.wait()
            Accounts.under(tmp_path).set_role(name, role)

        with ThreadPoolExecutor(len(names)) as threads:
            list(threads.map(change, names))
        assert {account.role for account in Accounts.under(tmp_path).all()} == {role}
