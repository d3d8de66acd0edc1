"""Versions of the built-in detectors: where they run, and what one in shadow would change."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Path

from dermafleet.storage import releases as stored
from services.api import release_models as models
from services.api.auth import caller
from services.api.context import Read, known_parameters_only

router = APIRouter(
    prefix="/api/v1/detectors", tags=["detectors"], dependencies=[Depends(caller), Depends(known_parameters_only)]
)


@router.get("/releases", summary="Where versions of the detectors run", operation_id="list_releases")
async def releases(connection: Read) -> models.Releases:
    """Newest first, those that have ended included. Version 1 runs wherever no other one is released."""
    rows = await stored.list_releases(connection)
    return models.Releases(data=[models.Release.model_validate(row) for row in rows])


@router.get("/{version}/report", summary="What a version in shadow would change", operation_id="get_release_report")
async def report(connection: Read, version: Annotated[int, Path(ge=1, le=2**31 - 1)]) -> models.ShadowReport:
    """Per fault: raised by both, by the active version only, by the one in shadow only, and earlier or later.
    Problem `not-found` while it has judged nothing."""
    found = await stored.report(connection, version)
    return models.ShadowReport(version=version, report=msgspec.to_builtins(found))
