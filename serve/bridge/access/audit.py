"""Logs who came in, who was refused, and who changed something: one line an event.

The rule: a line has names, addresses and reasons, and never a token, key, password or payload.
"""

import structlog

log = structlog.get_logger("audit")


def audit(what: str, **facts: str | int | float) -> None:
    """Log an event: ``what`` happened, and to whom. The field ``audit`` marks these lines."""
    log.info(what, audit=True, **facts)


def audit_refusal(what: str, **facts: str | int | float) -> None:
    """Log an attempt that was refused, as a warning."""
    log.warning(what, audit=True, **facts)
