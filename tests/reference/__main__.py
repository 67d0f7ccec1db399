"""Write the generated parts of the documentation: ``python -m tests.reference``."""

import sys

from tests.paths import ROOT
from tests.reference.pages import generated


def main() -> None:
    """Write each file that differs from what the code gives, and print its name."""
    for path, text in generated():
        if path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
