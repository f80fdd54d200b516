"""Structured logs: an event name and fields, JSON lines for machines or aligned text for a person.

No patient data: events carry case ids and short hashes of UIDs, never names, patient ids or UIDs. An exception is told
by its kind and its positions in the code, whoever logs it (`log_faults`). Records of libraries go through the same
formatter, without the values in them, and only from level warning up.
"""

import logging
import sys
import warnings

import structlog

from dicom_node.log_faults import log_every_fault, without_foreign_words, without_texts
from dicom_node.recent_log import RecentLog, RecentLogHandler


def configure_logs(level: str, form: str, recent: RecentLog | None = None) -> None:
    """Send all logs of this process, and what ends it or a thread of it, to standard error.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        form: `json`, `text`, or `auto` for text on a terminal and JSON elsewhere.
        recent: gets the same as JSON, for whoever looks at the newest lines.
    """
    as_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        without_texts,
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if as_text else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    handlers[0].setFormatter(_formatter(shared, renderer))
    if recent is not None:
        handlers.append(RecentLogHandler(recent))
        handlers[1].setFormatter(_formatter(shared, structlog.processors.JSONRenderer()))
    logging.basicConfig(level=logging.WARNING, handlers=handlers, force=True)
    logging.getLogger("dicom_node").setLevel(level.upper())
    # The engine adds a handler of its own, which prints texts of exceptions, to a logger that has none.
    logging.getLogger("dbos").addHandler(logging.NullHandler())
    # They print values of malformed elements, which may be a patient's name, and URLs, which name studies.
    for library in ("pydicom", "pynetdicom", "dicomweb_client", "urllib3"):
        logging.getLogger(library).setLevel(logging.CRITICAL + 1)
    log_every_fault()
    warnings.filterwarnings("ignore", module=r"pydicom\b")


def _formatter(
    shared: list[structlog.typing.Processor], renderer: structlog.typing.Processor
) -> structlog.stdlib.ProcessorFormatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, without_foreign_words],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        use_get_message=False,
    )
