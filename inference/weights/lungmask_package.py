"""The door to lungmask, whose import silences every UserWarning of the process and logs to standard output.

Both are undone here. It brings torch and takes a second or two, so it is imported when it is needed, never before.
"""

import logging
import warnings
from types import ModuleType


def import_lungmask() -> ModuleType:
    """Lungmask's `mask` module, without what its import does to warnings and to standard output."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lungmask import mask
    logger = logging.getLogger("lungmask")
    for handler in tuple(logger.handlers):
        logger.removeHandler(handler)
    logger.propagate = True
    logger.setLevel(logging.WARNING)
    module: ModuleType = mask
    return module
