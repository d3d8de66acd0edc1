"""The stream: what changes, as it changes (server-sent events)."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from fastapi.responses import StreamingResponse

from dermafleet.errors import TransientError
from dermafleet.storage.changes import Position
from dermafleet.storage.devices import internal_id
from dermafleet.storage.engine import translate
from services.api.auth import AnyCaller, Caller, find_caller
from services.api.context import Context, InContext, known_parameters_only
from services.api.problems import invalid_parameter, not_found, too_many_streams
from services.api.subscriber import Message, Subscriber, Topic

KEEP_ALIVE_S = 15.0
"""Below the idle limit of every proxy we know of."""
RECHECK_EVERY = timedelta(minutes=1)
"""A login that has ended sees no more than this."""
RETRY_MS = 2000
"""How long a browser waits before it connects again."""
MAX_STREAMS = 32
"""Per account: a browser opens one per tab."""

TOPICS: dict[str, Topic] = {"devices": "device", "alarms": "alarm", "sessions": "session"}

router = APIRouter(prefix="/api/v1", tags=["stream"], dependencies=[Depends(known_parameters_only)])


class EventStream(StreamingResponse):
    media_type = "text/event-stream"


@router.get("/stream", summary="What changes, as it changes", operation_id="stream", response_class=EventStream)
async def stream(
    parts: InContext,
    caller: AnyCaller,
    topics: Annotated[
        str | None, Query(max_length=100, description="Of `devices,alarms,sessions`. Default: all.")
    ] = None,
    device_id: Annotated[
        str | None, Query(max_length=64, description="Only of this device, and its samples as they arrive.")
    ] = None,
    last_event_id: Annotated[str | None, Header(max_length=64, description="Resume after this event.")] = None,
) -> EventStream:
    """Server-sent events: `device` (Device), `alarm` (Alarm), `session` (Session), each as it is now; with
    `device_id` also `telemetry` (LiveTelemetry, no id, at most four a second); `reset` when events were missed for
    good: fetch everything anew. Connect first, then fetch: what changes in between comes here.
    """
    wanted = _parse_topics(topics)
    token = Position.parse(last_event_id) if last_event_id else None
    if parts.feed.count_streams(caller.account.email) >= MAX_STREAMS:
        raise too_many_streams(MAX_STREAMS)
    watched = await _internal_id(parts, device_id) if device_id else None
    told = _tell(parts, caller, wanted, device_id, watched, token, resumes=last_event_id is not None)
    return EventStream(told, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


async def _tell(
    parts: Context,
    who: Caller,
    topics: frozenset[Topic],
    device_id: str | None,
    watched: int | None,
    token: Position | None,
    *,
    resumes: bool,
) -> AsyncIterator[bytes]:
    """The bytes of one stream, until the client goes, its login ends or the process stops."""
    async with AsyncExitStack() as stack:
        queue = stack.enter_context(parts.feed.subscribe(topics, device_id, owner=who.account.email))
        if device_id and watched is not None:
            await stack.enter_async_context(parts.live.watch(watched, device_id, queue))
        yield f"retry: {RETRY_MS}\n".encode()
        missed = await parts.feed.replay(queue, token) if token else None
        if resumes and missed is None:
            yield _reset(queue.position)
        else:
            yield b"".join(map(_event, missed or ())) + _mark(queue.position)
        checked_at = parts.now()
        while not queue.is_closed:
            is_woken = await queue.wait(KEEP_ALIVE_S)
            if parts.now() - checked_at >= RECHECK_EVERY:
                if not await _is_still_valid(parts, who):
                    return
                checked_at = parts.now()
            yield _news(queue) if is_woken else _keep_alive(parts.feed.position or queue.position)


def _news(queue: Subscriber) -> bytes:
    reset = _reset(queue.position) if queue.is_behind else b""
    queue.is_behind = False
    return reset + b"".join(map(_event, queue.take()))


def _event(message: Message) -> bytes:
    id = b"" if message.position is None else f"id: {message.position}\n".encode()
    return id + b"event: " + message.topic.encode() + b"\ndata: " + message.data + b"\n\n"


def _reset(position: Position) -> bytes:
    return f"id: {position}\nevent: reset\ndata: {{}}\n\n".encode()


def _mark(position: Position) -> bytes:
    """An id without an event: where to resume from, although nothing has happened."""
    return f"id: {position}\n\n".encode()


def _keep_alive(position: Position) -> bytes:
    return b": keep-alive\n" + _mark(position)


async def _is_still_valid(parts: Context, who: Caller) -> bool:
    try:
        return await find_caller(parts.engine, who.kind, who.secret, parts.now()) is not None
    except TransientError:
        return True  # the database will be asked again in a minute


async def _internal_id(parts: Context, device_id: str) -> int:
    with translate():
        async with parts.reader.connect() as connection:
            found = await internal_id(connection, device_id)
    if found is None:
        raise not_found("device", device_id)
    return found


def _parse_topics(text: str | None) -> frozenset[Topic]:
    names: Sequence[str] = list(TOPICS) if text is None else [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in TOPICS:
            raise invalid_parameter("topics", f"{name[:40]!r} is not one of {', '.join(TOPICS)}")
    return frozenset(TOPICS[name] for name in names) | {"telemetry"}
