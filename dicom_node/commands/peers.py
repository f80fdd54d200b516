"""Talk to other application entities."""

from pathlib import Path
from typing import Annotated

import typer

from dicom_node.commands.site import Peer, Site, console, peer_destination


def send(
    folder: Annotated[Path, typer.Argument(help="Folder with DICOM files.", exists=True)],
    peer: Peer,
    config: Site = None,
    calling: Annotated[str, typer.Option(help="Our AE title towards the peer.")] = "PERFNODE",
) -> None:
    """Send DICOM files to a peer by C-STORE."""
    from dicom_node.network.delivery import send as transmit
    from dicom_node.offline import dicom_files
    from dicom_node.progress import Progress

    paths = dicom_files(folder)
    if not paths:
        raise typer.BadParameter(f"{folder} holds no DICOM file")
    with Progress(console) as progress:
        counted = progress.counter("sending", len(paths))
        transmit(paths, peer_destination(peer, config, calling), lambda _: counted())
    console.print(f"{len(paths)} objects stored by {peer}")


def echo(
    peer: Peer,
    config: Site = None,
    calling: Annotated[str, typer.Option(help="Our AE title towards the peer.")] = "PERFNODE",
) -> None:
    """Ask a peer whether it is there (C-ECHO)."""
    from dicom_node.network.delivery import echo as ask

    seconds = ask(peer_destination(peer, config, calling))
    console.print(f"{peer} answered in {1000 * seconds:.0f} ms")
