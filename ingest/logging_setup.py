"""Sets up logging: one line per event, with fields.

The format ``simple`` is for people, ``json`` for machines. The rule: foreign text writes no line of
its own, and does nothing to a terminal. Logs go to stderr and, where a file is
named, to that file too. A file that reaches its size limit is rotated.
"""

import logging
import sys
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import structlog
from structlog.typing import EventDict

from ingest.errors import SettingsError
from ingest.settings import LogSettings

FILE_BYTES = 2_000_000
OLDER_FILES = 4


def start_logging(settings: LogSettings) -> None:
    """Send every event to stderr, and to a file where ``settings`` names one.

    ``settings`` sets the format and the lowest level too. Raises SettingsError where the file
    cannot be written to.
    """
    # Colours are for a terminal: a file, and a program that reads it later, gets none.
    colors = not settings.file and sys.stderr is not None and sys.stderr.isatty()
    renderers: list[structlog.typing.Processor] = (
        [structlog.processors.JSONRenderer()]  # which escapes all but ASCII
        if settings.format == "json"
        else [_without_controls, structlog.dev.ConsoleRenderer(colors=colors)]
    )
    structlog.configure(
        processors=[
            _of_service(settings.service_name),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[settings.level]
        ),
        logger_factory=_to_file(settings.file)
        if settings.file
        else structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _to_file(name: str) -> Callable[..., logging.Logger]:
    logger = logging.getLogger("purple-sector")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)  # structlog has filtered by level already
    for handler in logger.handlers.copy():
        logger.removeHandler(handler)
        handler.close()
    logger.addHandler(_rotating(name))
    if sys.stderr is not None:  # a program that Windows starts without a window has none
        logger.addHandler(logging.StreamHandler(sys.stderr))
    return lambda *_: logger


def _rotating(name: str) -> RotatingFileHandler:
    try:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        return RotatingFileHandler(
            name, maxBytes=FILE_BYTES, backupCount=OLDER_FILES, encoding="utf-8"
        )
    except OSError as refused:
        raise SettingsError("LOG_FILE", name, f"cannot be written to: {refused.strerror}") from None


def _without_controls(_: Any, __: str, event: EventDict) -> EventDict:
    """Escape control characters, bidirectional ones and halves of surrogates in every text.

    structlog 26.1 passes ESC, NUL and U+202E on, and a half of a surrogate breaks the line's
    encoding. A traceback keeps its lines.
    """
    for field, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            lines = value.split("\n") if field == "exception" else [value]
            event[field] = "\n".join(map(_escaped, lines))
    return event


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _of_service(name: str) -> structlog.typing.Processor:
    # Not a context variable: workers are threads, and each thread that the program starts has its
    # own context.
    def add(_: Any, __: str, event: EventDict) -> EventDict:
        event.setdefault("service", name)
        return event

    return add
