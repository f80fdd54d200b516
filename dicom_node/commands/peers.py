"""Talk to application entities and DICOMweb services."""

from pathlib import Path
from typing import Annotated

import typer

from dicom_node.commands.site import Peer, Site, called_peer, console


def send(
    folder: Annotated[Path, typer.Argument(help="Folder with DICOM files.", exists=True)],
    peer: Peer,
    config: Site = None,
    calling: Annotated[str, typer.Option(help="Our AE title towards the peer.")] = "PERFNODE",
) -> None:
    """Send DICOM files to a peer by C-STORE, or by STOW-RS to a DICOMweb service of the site."""
    from dicom_node.network.delivery import send as transmit
    from dicom_node.network.web_peer import DicomwebPeer
    from dicom_node.offline import dicom_files
    from dicom_node.progress import Progress

    paths = dicom_files(folder)
    if not paths:
        raise typer.BadParameter(f"{folder} holds no DICOM file")
    called = called_peer(peer, config, calling)
    with Progress(console) as progress:
        counted = progress.counter("sending", len(paths))
        if isinstance(called, DicomwebPeer):
            from dicom_node.network.dicomweb import store

            store(paths, called, lambda _: counted())
        else:
            transmit(paths, called, lambda _: counted())
    console.print(f"{len(paths)} objects stored by {peer}")


def echo(
    peer: Peer,
    config: Site = None,
    calling: Annotated[str, typer.Option(help="Our AE title towards the peer.")] = "PERFNODE",
) -> None:
    """Ask a peer whether it is there (C-ECHO; a DICOMweb service is asked for one study)."""
    from dicom_node.network.echo import echo as ask

    seconds = ask(called_peer(peer, config, calling))
    console.print(f"{peer} answered in {1000 * seconds:.0f} ms")
