"""`python -m dicom_node`, and the entry point of `perfnode`."""

import sys

from rich.console import Console

from dicom_node.cli import app
from dicom_node.errors import NodeError
from inference.errors import InferenceError


def main() -> None:
    """Run the command line; known errors end as one line with their code and exit status 2."""
    try:
        app()
    except (NodeError, InferenceError) as fault:
        Console(stderr=True).print(f"{fault.code}: {fault}", style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
