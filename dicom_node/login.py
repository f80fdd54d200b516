"""Who runs this process, for whatever keeps a record of people."""

import os
import pwd
import socket


def login_name() -> str:
    """The login name, from the system and not from the environment, which anybody can set."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid-{os.getuid()}"


def login_at_host() -> str:
    """The login name and the name of this computer, `login@host`."""
    return f"{login_name()}@{socket.gethostname()}"
