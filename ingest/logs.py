"""Logs: one line per event, with fields. ``simple`` is for people, ``json`` for machines."""

import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict

from ingest.settings import LogSettings


def start_logging(settings: LogSettings) -> None:
    """Send every event to stderr in the format and from the level that ``settings`` names."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            _of_service(settings.service_name),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _of_service(name: str) -> structlog.typing.Processor:
    # Not a context variable: threads that the program starts have a context of their own, and workers are threads.
    def add(_: Any, __: str, event: EventDict) -> EventDict:
        event.setdefault("service", name)
        return event

    return add
