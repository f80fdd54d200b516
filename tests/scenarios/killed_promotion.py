"""Runs a `perfnode` command and kills itself (-9) just before a file operation.

`python killed_promotion.py EVENT NAME COMMAND...`: EVENT is an audit event of Python (`os.rename`, or `open` to write),
NAME the end of a path in its arguments.
"""

import os
import signal
import sys

from dicom_node.cli import app


def main(event: str, name: str, *command: str) -> None:
    """Arm, then run the command."""

    def hook(happened: str, arguments: tuple[object, ...]) -> None:
        writes = happened != "open" or (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if happened == event and writes and any(str(part).endswith(name) for part in arguments):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    app(command)


if __name__ == "__main__":
    main(*sys.argv[1:])
