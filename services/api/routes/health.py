"""Whether this process lives, is ready, and how it does. Probes have no login, and nothing here is secret."""

from fastapi import APIRouter, Request, Response
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder

from dermafleet.errors import DermafleetError
from dermafleet.storage.changes import oldest_unread
from dermafleet.storage.engine import translate
from dermafleet.storage.fleet import schema_revision, unserved_shards
from dermafleet.storage.migrate import SUPPORTED
from services.api import models
from services.api.context import Context, InContext

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="The process lives", operation_id="get_health")
async def healthz() -> models.Health:
    return models.Health(status="ok")


@router.get(
    "/readyz",
    summary="The process can do its work",
    operation_id="get_readiness",
    responses={503: {"model": models.Readiness, "description": "It cannot; `reasons` say why."}},
)
async def readyz(parts: InContext, response: Response) -> models.Readiness:
    """Asks the database. That other processes are missing is told but does not make this one unready."""
    found = await _look(parts)
    response.status_code = 200 if found.ready else 503
    return found


@router.get("/metrics", summary="Figures for Prometheus", operation_id="get_metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(REGISTRY), media_type=content_type)


async def _look(parts: Context) -> models.Readiness:
    now = parts.now()
    reasons: list[str] = []
    shards: list[str] = []
    lag_ms: int | None = None
    try:
        with translate():
            async with parts.reader.connect() as connection:
                revision = await schema_revision(connection)
                if revision not in SUPPORTED:
                    reasons.append(f"the schema is revision {revision}, needed is {', '.join(sorted(SUPPORTED))}")
                else:
                    shards = await unserved_shards(connection, now=now)
                    if parts.feed.position is None:
                        reasons.append("changes have not been read yet")
                    elif unread := await oldest_unread(connection, parts.feed.position):
                        lag_ms = max(0, int((now - unread).total_seconds() * 1000))
    except DermafleetError:  # its text names hosts and users
        reasons.append("the database cannot be asked; the log says why")
    return models.Readiness(ready=not reasons, reasons=reasons, unserved_shards=shards, feed_lag_ms=lag_ms)
