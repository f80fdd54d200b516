"""The process of the operator's page: `python -m dicom_node.web.web_process SITE_FILE LISTENING`.

Started by `serving.web_page` only, which passes the listening socket as a descriptor, and on standard input how long to
wait before stopping (`kept_process`). It runs with a lower priority than what receives: a page that many people look at
may become slow, and images are taken all the same.
"""

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

import structlog
import uvicorn

from dicom_node.logs import configure_logs
from dicom_node.processes.kept_process import obey_parent
from dicom_node.recent_log import RecentLog

if TYPE_CHECKING:
    from dicom_node.settings.config import NodeSettings

NICER: Final = 5
"""How much lower the priority is, in the steps of nice(2)."""
_FINISH_S: Final = 2.0
"""For answers that are on their way; streams never end by themselves."""
_END_S: Final = 4.0
"""The process ends after this long, whatever still runs in it: it changes nothing that is not done in one step."""
_MOST_CONNECTIONS: Final = 500
_IDLE_S: Final = 60


class PageServer(uvicorn.Server):
    """A server that ends soon when it is told to, also with streams open."""

    def end_soon(self) -> None:
        """Take nothing new, and end."""
        self.should_exit = True
        timer = threading.Timer(_END_S, os._exit, (0,))
        timer.daemon = True
        timer.start()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End on a signal; the library raises it once more at the end, unless it is taken as heard."""
        self.end_soon()


def page_server(settings: "NodeSettings") -> PageServer:
    """The server of a node's page, not yet started.

    Args:
        settings: of the node.
    """
    from dicom_node.web.app import create_app

    web = settings.web
    config = uvicorn.Config(
        create_app(settings),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # whom to believe is decided in `access.caller`
        ws="none",
        lifespan="on",
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=int(_FINISH_S),
        ssl_certfile=web.certificate,
        ssl_keyfile=web.key,
    )
    return PageServer(config)


def main(arguments: Sequence[str]) -> int:
    """Entry of the process."""
    from dicom_node.settings.config import read_settings

    site, listening = Path(arguments[0]), int(arguments[1])
    os.nice(NICER)
    os.umask(0o077)  # what we keep is patient data
    settings = read_settings(site)
    configure_logs(settings.log_level, settings.log_format, RecentLog.under(settings.data_dir))
    server = page_server(settings)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=obey_parent, args=(lambda _: server.end_soon(),), name="parent", daemon=True).start()
    with socket.socket(fileno=listening) as accepting:
        structlog.get_logger().info("page_starts", host=settings.web.host, port=settings.web.port)
        asyncio.run(server.serve(sockets=[accepting]))
    structlog.get_logger().info("page_stopped")
    os._exit(0 if server.started else 1)  # threads that still look something up hold nobody up


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
