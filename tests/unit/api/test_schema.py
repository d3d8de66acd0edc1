"""docs/openapi.json is what the code serves, and says what the code does."""

import json
import re
from pathlib import Path

from services.api.app import openapi

FILE = Path(__file__).parents[3] / "docs" / "openapi.json"


def test_description_in_docs_is_up_to_date() -> None:
    assert json.loads(FILE.read_text()) == openapi(), "write it with: dermafleet api-schema > docs/openapi.json"


def test_every_operation_is_named_and_tells_of_problems() -> None:
    for path, operations in openapi()["paths"].items():
        for operation in operations.values():
            assert operation["operationId"], path
            assert operation["summary"], path
            problem = operation["responses"]["default"]["content"]["application/problem+json"]
            assert problem["schema"] == {"$ref": "#/components/schemas/Problem"}
            assert "422" not in operation["responses"], path


def test_every_field_of_an_answer_is_required() -> None:
    """What is posted may leave out what has a default."""
    described = openapi()
    bodies = [each.get("requestBody") for path in described["paths"].values() for each in path.values()]
    posted = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(bodies)))
    for name, schema in described["components"]["schemas"].items():
        assert name in posted or set(schema["properties"]) == set(schema["required"]), name
