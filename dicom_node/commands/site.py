"""What every command needs: the options they share, the site file, and where to print."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from dicom_node.network.requestor import Peer as CalledPeer
    from dicom_node.network.web_peer import DicomwebPeer
    from dicom_node.settings.config import NodeSettings

console = Console(highlight=False)

Site = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="PERFNODE_CONFIG", help="The site file; without it, ./site.toml."),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
CaseId = Annotated[str, typer.Argument(help="Id of the case, or its first characters.")]
Peer = Annotated[str, typer.Argument(help="AETITLE@host:port, or the name of a destination or peer of the site.")]


def read_site(config: Path | None, *, default: bool = False) -> "NodeSettings":
    """The settings of the site file; `default`: those built in, where no file is named and there is no ./site.toml."""
    from dicom_node.settings.config import parse_settings, read_settings

    path = config or Path("site.toml")
    if config is None and default and not path.exists():
        return parse_settings({}, source="built-in defaults")
    return read_settings(path)


def case_id(settings: "NodeSettings", start_of_id: str) -> str:
    """The whole id of a case."""
    return settings.cases().find(start_of_id).case_id


def called_peer(peer: str, config: Path | None, calling: str) -> "CalledPeer | DicomwebPeer":
    """A peer given as `AET@host:port` or by the name of a destination or peer of the site."""
    from dicom_node.network.addresses import AeAddress
    from dicom_node.network.delivery import Destination

    if "@" not in peer:
        try:
            return read_site(config).peer(peer)
        except KeyError as fault:
            raise typer.BadParameter(f"the site has no destination or peer {peer!r}") from fault
    try:
        return Destination("peer", AeAddress.parse(peer), calling_ae_title=calling)
    except ValueError as fault:
        raise typer.BadParameter(str(fault)) from fault
