"""The OpenAPI document, made complete: problems, ways to log in, the stream. ``docs/openapi.json`` is a copy of it."""

from typing import Any, cast

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from dermafleet.contracts.backtests import BacktestRequest, BacktestResult
from dermafleet.contracts.releases import ReleaseReport
from dermafleet.contracts.rules import Rule
from services.api import models
from services.api.auth import COOKIE
from services.api.problems import MEDIA_TYPE

Document = dict[str, Any]  # OpenAPI is JSON of no fixed shape

_REF = "#/components/schemas/"
_UNROUTED: tuple[type[BaseModel], ...] = (models.Problem, models.LiveTelemetry)
"""Models that no route returns as its own: of errors and of the stream."""

_CONTRACTS: dict[tuple[str, str], Any] = {
    ("RuleVersion", "rule"): Rule,
    ("Backtest", "request"): BacktestRequest,
    ("Backtest", "result"): BacktestResult | None,
    ("ShadowReport", "report"): ReleaseReport,
}
"""Types of `dermafleet.contracts` that are fields of answers: (answer, field) → type."""


def describe(app: FastAPI) -> None:
    """Let ``/openapi.json`` tell of problems, of the ways to log in and of the stream."""

    def openapi() -> Document:
        if app.openapi_schema is None:
            app.openapi_schema = _complete(
                get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            )
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def _complete(document: Document) -> Document:
    schemas = document["components"]["schemas"]
    _, extra = models_json_schema([(model, "serialization") for model in _UNROUTED], ref_template=_REF + "{model}")
    schemas.update(extra["$defs"])
    _add_contracts(schemas)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    document["components"]["securitySchemes"] = {
        "login": {"type": "apiKey", "in": "cookie", "name": COOKIE},
        "api_key": {"type": "http", "scheme": "bearer"},
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _complete_operation(path, operation)
    return document


def _add_contracts(schemas: Document) -> None:
    """Describe what contracts define, where answers hold it."""
    refs, described = msgspec.json.schema_components(_CONTRACTS.values(), ref_template=_REF + "{name}")
    schemas.update(described)
    for (model, name), ref in zip(_CONTRACTS, refs, strict=True):
        told = schemas[model]["properties"][name].get("description")
        schemas[model]["properties"][name] = ref | ({"description": told} if told else {})


def _complete_operation(path: str, operation: Document) -> None:
    responses = cast(Document, operation["responses"])
    responses.pop("422", None)
    responses["default"] = {
        "description": "The request failed; why",
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REF + "Problem"}}},
    }
    if path.startswith("/api/v1/") and path != "/api/v1/login":
        operation["security"] = [{"login": []}, {"api_key": []}]
    if path.endswith("/stream"):
        responses["200"]["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
    if path == "/metrics":
        responses["200"]["content"] = {"text/plain": {"schema": {"type": "string"}}}
