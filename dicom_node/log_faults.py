"""What a log may say of a fault: its kind and where in the code it happened, never its text.

The message of a foreign exception may quote a dataset, a database row or a file name, and with it a patient; so may the
local variables of a trace, and messages that libraries write. Kinds and positions of code are constants of a program.
"""

import errno
import faulthandler
import linecache
import logging
import sys
import threading
import traceback
import warnings
from collections.abc import MutableMapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TextIO

import structlog

_FRAMES: Final = 15
"""Innermost positions that are told; a deep recursion would fill the log."""
_CAUSES: Final = 8
_STATEMENT_LINES: Final = 12
"""A call of a logger may stretch over so many lines of source."""
_OWN: Final = "dicom_node"


def told(fault: BaseException) -> list[dict[str, Any]]:
    """An exception and its causes, outermost first, each as its kind and positions `file:line function`."""
    found: list[dict[str, Any]] = []
    waiting: list[BaseException | None] = [fault]
    seen: set[int] = set()
    while waiting and len(found) < _CAUSES:
        one = waiting.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        number = {"errno": errno.errorcode.get(one.errno or 0, "")} if isinstance(one, OSError) and one.errno else {}
        found.append({"kind": kind_of(type(one)), **number, "at": _positions(one.__traceback__)})
        waiting.append(one.__cause__ or (None if one.__suppress_context__ else one.__context__))
        if isinstance(one, BaseExceptionGroup):
            waiting.extend(one.exceptions)
    return found


def kind_of(kind: type) -> str:
    """The name of a type, with its module unless it is built in."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def without_texts(logger: Any, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: replaces exception and stack of an event by `fault` and `stack` as `told` gives them."""
    fault = event.pop("exc_info", None)
    if fault is True or (isinstance(fault, tuple) and fault and fault[1] is None):
        fault = sys.exc_info()
    if isinstance(fault, tuple):
        fault = fault[1]
    if isinstance(fault, BaseException):
        event["fault"] = told(fault)
    event.pop("exception", None)
    if event.pop("stack_info", None):
        event["stack"] = _here(event.get("_record"))
    return event


def without_foreign_words(logger: Any, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor for records of libraries: keeps their words only if these stand so in their source.

    A text with values put in by an f-string does not, and becomes `library_message`; of `"…%s", value` the values are
    left out. Its position is told, so that the words can be found in the library.
    """
    record: logging.LogRecord = event["_record"]
    text = str(event["event"])
    event["event"] = text if _stands_in_source(text, record.pathname, record.lineno) else "library_message"
    event["at"] = f"{_short(record.pathname)}:{record.lineno} {record.funcName}"
    return event


def log_every_fault() -> None:
    """Let whatever ends this process or a thread of it be told in the log, without its text.

    A crash in native code writes the positions of all threads to standard error.
    """
    sys.excepthook = _process_failed
    threading.excepthook = _thread_failed
    sys.unraisablehook = _not_raised
    warnings.showwarning = _warned
    faulthandler.enable()


def _process_failed(kind: type[BaseException], fault: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    _log().critical("process_failed", code="PROCESS_FAILED", kind=kind_of(kind), exc_info=fault)


def _thread_failed(failed: threading.ExceptHookArgs) -> None:
    _log().error("thread_failed", code="THREAD_FAILED", kind=kind_of(failed.exc_type), exc_info=failed.exc_value)


def _not_raised(failed: "sys.UnraisableHookArgs") -> None:
    _log().error("fault_ignored", code="FAULT_IGNORED", kind=kind_of(failed.exc_type), exc_info=failed.exc_value)


def _warned(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    _log().info("library_warned", kind=kind_of(category), at=f"{_short(filename)}:{lineno}")


def _log() -> Any:
    return structlog.get_logger("dicom_node.log_faults")


def _positions(trace: TracebackType | None) -> list[str]:
    frames = [(frame.f_code.co_filename, line, frame.f_code.co_name) for frame, line in traceback.walk_tb(trace)]
    return [f"{_short(file)}:{line} {function}" for file, line, function in frames[-_FRAMES:]]


def _here(record: logging.LogRecord | None) -> list[str]:
    return [] if record is None else [f"{_short(record.pathname)}:{record.lineno} {record.funcName}"]


def _short(file: str) -> str:
    """The path from its package on: a folder above it may be named after anything."""
    parts = Path(file).parts
    for root in ("site-packages", "dist-packages"):
        if root in parts:
            return "/".join(parts[parts.index(root) + 1 :])
    if _OWN in parts:
        return "/".join(parts[len(parts) - 1 - parts[::-1].index(_OWN) :])
    return parts[-1] if parts else ""


def _stands_in_source(text: str, file: str, line: int) -> bool:
    source = "".join(linecache.getlines(file)[max(0, line - 1) : line + _STATEMENT_LINES])
    return bool(text) and (f'"{text}"' in source or f"'{text}'" in source)
