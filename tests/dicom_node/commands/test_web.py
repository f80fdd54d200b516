"""`perfnode web account`, as an administrator uses it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dicom_node.cli import app
from dicom_node.errors import AccountRefused, UnknownAccount
from dicom_node.settings.config import read_settings
from dicom_node.web.access.accounts import Accounts
from dicom_node.web.access.passwords import fits
from tests.audit_messages import read_lines

PASSWORD = "a quiet morning"  # noqa: S105  # of nobody


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "site.toml").write_text('[node]\ndata_dir = "data"\n')
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    return tmp_path / "site.toml"


def account(site: Path, *words: str, typed: str = "") -> Result:
    return CliRunner().invoke(app, ["web", "account", *words, "--config", str(site)], input=typed)


def add(site: Path, name: str = "Ada Byron", role: str = "approver") -> Result:
    return account(site, "add", name, "--role", role, "--password-file", str(site.parent / "password"))


def accounts(site: Path) -> Accounts:
    return Accounts.under(read_settings(site).data_dir)


def test_an_account_is_made_listed_changed_and_removed(site: Path) -> None:
    assert "Ada Byron may sign in as approver" in add(site).output
    (listed,) = json.loads(account(site, "list", "--json").output)
    assert (listed["name"], listed["role"]) == ("Ada Byron", "approver")
    assert "Ada Byron" in account(site, "list").output
    assert account(site, "role", "ada byron", "viewer").exit_code == 0
    (kept,) = accounts(site).all()
    assert kept.role == "viewer"
    assert fits(PASSWORD, kept.password_hash)
    assert account(site, "remove", "Ada Byron").exit_code == 0
    assert accounts(site).all() == []


def test_without_a_file_the_password_is_asked_for_twice_and_not_shown(site: Path) -> None:
    done = account(site, "add", "ada", typed=f"{PASSWORD}\n{PASSWORD}\n")
    assert done.exit_code == 0
    assert PASSWORD not in done.output
    (kept,) = accounts(site).all()
    assert kept.role == "viewer"
    assert fits(PASSWORD, kept.password_hash)
    changed = account(site, "password", "ada", typed="another morning\nanother morning\n")
    assert changed.exit_code == 0
    (kept,) = accounts(site).all()
    assert fits("another morning", kept.password_hash)


def test_what_cannot_be_is_refused_with_a_code(site: Path) -> None:
    add(site)
    assert isinstance(add(site).exception, AccountRefused)
    assert isinstance(account(site, "remove", "bob").exception, UnknownAccount)
    assert isinstance(account(site, "add", "bob", typed="short\nshort\n").exception, AccountRefused)
    assert account(site, "add", "bob", "--role", "king").exit_code == 2
    assert [kept.name for kept in accounts(site).all()] == ["Ada Byron"]


def test_every_change_is_told_to_the_trail_and_no_password_is(site: Path) -> None:
    add(site)
    account(site, "role", "Ada Byron", "viewer")
    account(site, "remove", "Ada Byron")
    log = read_settings(site).audit_trail().log_file
    told = [line.value("//ParticipantObjectName") for line in read_lines(log)]
    assert told == ["account add", "account role", "account remove"]
    assert PASSWORD not in log.read_text()
