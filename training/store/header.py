"""`store.json`: that a folder is a study store, of which format, and with which key it was made."""

import json
from pathlib import Path
from typing import Final

from training.errors import StoreUnusable
from training.insilico.files.whole_folder import write_whole

HEADER: Final = "store.json"
FORMAT: Final = 1


def write_header(folder: Path, key_id: str) -> None:
    """Make a folder a store.

    Args:
        folder: exists.
        key_id: says which key it is, and nothing of the key.

    Raises:
        OSError: it cannot be written.
    """
    write_whole(folder / HEADER, (json.dumps({"format": FORMAT, "key_id": key_id}) + "\n").encode())


def read_key_id(folder: Path) -> str:
    """The key that a store was made with.

    Raises:
        StoreUnusable: the folder is no store, or one of another format.
    """
    try:
        content = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        found, key_id = content["format"], str(content["key_id"])
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise StoreUnusable(str(folder), f"{HEADER} is missing or damaged") from fault
    if found != FORMAT:
        raise StoreUnusable(str(folder), f"it is of format {found}, and this program knows format {FORMAT}")
    return key_id
