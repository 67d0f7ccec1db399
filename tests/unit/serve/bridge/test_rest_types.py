"""OpenAPI names the types of REST's answers."""

from fastapi import FastAPI

from serve.bridge import web_app
from serve.bridge.rest.routes import router


def test_openapi_has_the_types_of_answers() -> None:
    app = FastAPI()
    app.include_router(router)
    schemas = app.openapi()["components"]["schemas"]

    assert {
        "SessionPage",
        "SessionRow",
        "LapList",
        "LapRow",
        "LapSummaries",
        "LapSummary",
    } <= schemas.keys()
    assert schemas["LapRow"]["properties"]["started_at"] == {
        "type": "string",
        "format": "date-time",
        "title": "Started At",
    }
    assert "user_id" in schemas["SessionRow"]["required"]


def test_openapi_has_the_types_of_health_and_statistics() -> None:
    app = FastAPI()
    app.include_router(web_app.router)
    schemas = app.openapi()["components"]["schemas"]

    assert schemas["Health"]["required"] == ["status"]
    assert schemas["ReplicaStatistics"]["properties"]["kafkaStats"] == {
        "$ref": "#/components/schemas/KafkaStatistics"
    }
