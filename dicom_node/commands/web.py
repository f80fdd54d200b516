"""Look after the operator's page: who may sign in."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.commands.site import AsJson, Site, console, read_site
from dicom_node.web.access.rights import PageRole

if TYPE_CHECKING:
    from dicom_node.settings.config import NodeSettings
    from dicom_node.web.access.accounts import Accounts

app = typer.Typer(help="Look after the operator's page: who may sign in.", no_args_is_help=True)
account = typer.Typer(
    help="Accounts of the page on this node. A changed account is signed out everywhere.", no_args_is_help=True
)
app.add_typer(account, name="account")

Name = Annotated[str, typer.Argument(help="Name of the person, as it stands in records of decisions.")]
NewRole = Annotated[PageRole, typer.Argument(help="What the person may do.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(help="File whose first line is the password; without it, you are asked.", exists=True, dir_okay=False),
]


@account.command()
def add(
    name: Name,
    role: Annotated[PageRole, typer.Option(help="What the person may do.")] = PageRole.VIEWER,
    password_file: PasswordFile = None,
    config: Site = None,
) -> None:
    """Make an account; a password has 12 characters or more."""
    from datetime import UTC, datetime

    settings = read_site(config)
    made = _accounts(settings).add(name, role, _password(password_file), datetime.now(UTC).date().isoformat())
    _told(settings, "add", made.name, f"{made.name} may sign in as {made.role}")


@account.command("list")
def list_(config: Site = None, as_json: AsJson = False) -> None:
    """List the accounts with their roles."""
    from rich.table import Table

    from dicom_node import output

    accounts = _accounts(read_site(config)).all()
    if as_json:
        output.print_json(console, [{"name": a.name, "role": a.role, "created": a.created} for a in accounts])
        return
    table = Table("name", "role", "created")
    for each in accounts:
        table.add_row(each.name, each.role, each.created)
    console.print(table)


@account.command()
def role(name: Name, role: NewRole, config: Site = None) -> None:
    """Give an account another role."""
    settings = read_site(config)
    _accounts(settings).set_role(name, role)
    _told(settings, "role", name, f"{name} may now sign in as {role}")


@account.command()
def password(name: Name, password_file: PasswordFile = None, config: Site = None) -> None:
    """Give an account another password."""
    settings = read_site(config)
    _accounts(settings).set_password(name, _password(password_file))
    _told(settings, "password", name, f"{name} has a new password")


@account.command()
def remove(name: Name, config: Site = None) -> None:
    """Remove an account."""
    settings = read_site(config)
    _accounts(settings).remove(name)
    _told(settings, "remove", name, f"{name} may not sign in any more")


def _accounts(settings: "NodeSettings") -> "Accounts":
    from dicom_node.web.access.accounts import Accounts

    return Accounts.under(settings.data_dir)


def _password(file: Path | None) -> str:
    if file is not None:
        return file.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt="Once more"))


def _told(settings: "NodeSettings", action: str, name: str, said: str) -> None:
    settings.audit_trail().operator_action(f"account {action}", f"account:{name}")
    console.print(said, soft_wrap=True, markup=False)
