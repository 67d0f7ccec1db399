"""Generate the table of channels from `analytics.model.channels`."""

from analytics.model.channels import CHANNELS, Channel
from tests.reference.markdown import code, table


def channels() -> str:
    """Return a table of the channels."""
    rows = [(code(one.name), one.unit, one.interpolation, _about(one)) for one in CHANNELS]
    return table(("column", "unit", "between samples", "what it is"), rows)


def _about(one: Channel) -> str:
    return f"{one.about} (NULL: unknown)" if one.optional else one.about
