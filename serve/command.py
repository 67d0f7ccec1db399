"""The ``purple-sector`` command."""


def main() -> None:
    raise SystemExit("not yet")
