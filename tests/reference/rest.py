"""Generate the reference of REST from the application's OpenAPI."""

from typing import Any

from ingest.settings import DatabaseSettings, KafkaSettings
from serve.bridge.web_app import make_app
from tests.reference.markdown import code, table
from tests.reference.settings import bounds

Schema = dict[str, Any]


def openapi() -> Schema:
    """Return the OpenAPI of the page's server. Nothing is connected for it."""
    return make_app(KafkaSettings(), DatabaseSettings()).openapi()


def routes() -> str:
    """Return a table of the routes with parameters, meaning and type of the answer."""
    rows = [
        (
            code(f"{verb.upper()} {path}"),
            _parameters(route),
            _sentence(route["description"]),
            _answer(route),
        )
        for path, verbs in sorted(openapi()["paths"].items())
        for verb, route in verbs.items()
    ]
    return table(("route", "query or body", "answer", "type"), rows)


def types() -> str:
    """Return a table of the fields of each type of answer."""
    schemas = openapi()["components"]["schemas"]
    ours = {name: one for name, one in sorted(schemas.items()) if "ValidationError" not in name}
    return "\n\n".join(_type(name, one) for name, one in ours.items())


def _type(name: str, schema: Schema) -> str:
    rows = [(code(field), type_of(one)) for field, one in schema["properties"].items()]
    about = _sentence(schema.get("description", ""))
    return "\n\n".join(filter(None, [f"### {name}", about, table(("field", "type"), rows)]))


def _parameters(route: Schema) -> str:
    found = [one for one in route.get("parameters", []) if one["in"] == "query"]
    texts = [f"{code(one['name'])}: {_with_default(one['schema'])}" for one in found]
    if "requestBody" in route:
        texts.append(type_of(route["requestBody"]["content"]["application/json"]["schema"]))
    return "; ".join(texts)


def _with_default(schema: Schema) -> str:
    default = schema.get("default")
    return type_of(schema) + (f", {default} by default" if default else "")


def _answer(route: Schema) -> str:
    given = next(one for code, one in route["responses"].items() if code.startswith("2"))
    content = given.get("content")
    return type_of(content["application/json"]["schema"]) if content else "nothing"


def type_of(schema: Schema) -> str:
    """Return a JSON schema's type in words."""
    if "anyOf" in schema:
        return " or ".join(type_of(one) for one in schema["anyOf"])
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "items" in schema:
        of = type_of(schema["items"])
        return f"list of ({of})" if " or " in of else f"list of {of}"
    kind = {"date-time": "instant"}.get(schema.get("format", ""), schema.get("type", "object"))
    return f"{kind} {bounds(schema)}".strip()


def _sentence(text: str) -> str:
    return " ".join(text.split()).replace("``", "`")
