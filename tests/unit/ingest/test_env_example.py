""".env.example shows every setting and its default: the classes are right, the file follows."""

import re
from typing import Any

from pydantic import SecretStr

import ingest.settings
from ingest.settings import KafkaSettings
from tests.paths import ROOT

EXAMPLE = ROOT / ".env.example"


def _written(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value).lower() if isinstance(value, bool) else str(value)


def _defaults() -> dict[str, str]:
    edge = KafkaSettings.__mro__[1]
    classes = [
        c
        for c in vars(ingest.settings).values()
        if isinstance(c, type) and issubclass(c, edge) and c is not edge
    ]
    fields = [field for settings in classes for field in settings.model_fields.values()]  # type: ignore[attr-defined]
    return {str(field.alias): _written(field.default) for field in fields}


def _shown() -> list[tuple[str, str]]:
    return re.findall(r"^#?([A-Z][A-Z_]+)=(.*)$", EXAMPLE.read_text(), flags=re.MULTILINE)


def test_example_shows_every_setting_with_its_default() -> None:
    assert dict(_shown()) == _defaults()


def test_example_names_each_setting_once() -> None:
    names = [name for name, _ in _shown()]
    assert sorted(set(names)) == sorted(names)
