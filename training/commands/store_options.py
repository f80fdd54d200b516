"""Options that all commands about a study store share."""

from pathlib import Path
from typing import Annotated

import typer

StoreFolder = Annotated[Path, typer.Option("--store", help="Folder of the study store.", file_okay=False)]
Key = Annotated[Path | None, typer.Option("--key", help="Key of the store; without it, beside the store as STORE.key.")]
By = Annotated[str, typer.Option("--by", help="Name of the person who does it; the store's audit keeps it.")]
