"""Every way a request can fail, as a problem (RFC 9457). HTTP status codes of errors live here and nowhere else."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from dermafleet.contracts.rules import InvalidRule
from dermafleet.errors import DermafleetError, PermanentError, TransientError
from dermafleet.logs import get_logger
from dermafleet.storage.releases import NothingJudged
from dermafleet.storage.rules import NoSuchRule, RuleChanged, RuleConflict

MEDIA_TYPE = "application/problem+json"

_log = get_logger()


class Refused(DermafleetError):
    """A request that is answered with a problem.

    Attributes:
        kind: names the problem in its ``type``; stable.
        errors: what is wrong with which part, as (pointer, detail).
    """

    def __init__(
        self,
        status: HTTPStatus,
        kind: str,
        detail: str,
        *,
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})


def not_found(what: str, name: object) -> Refused:
    return Refused(HTTPStatus.NOT_FOUND, "not-found", f"There is no {what} {str(name)[:80]!r}.")


def invalid_parameter(name: str, detail: str) -> Refused:
    """A query parameter that is wrong or unknown."""
    return _invalid([(f"?{name}", detail)])


def login_needed() -> Refused:
    detail = "Log in, or send an API key as 'Authorization: Bearer <key>'."
    headers = {"WWW-Authenticate": "Bearer"}
    return Refused(HTTPStatus.UNAUTHORIZED, "login-needed", detail, headers=headers)


def login_failed() -> Refused:
    """Deliberately silent on whether the e-mail address or the password is wrong."""
    return Refused(HTTPStatus.UNAUTHORIZED, "login-failed", "The e-mail address or the password is wrong.")


def cross_site(header: str, value: str) -> Refused:
    detail = f"A change by cookie needs the header '{header}: {value}', which other sites cannot send."
    return Refused(HTTPStatus.FORBIDDEN, "cross-site", detail)


def not_allowed(role: str) -> Refused:
    detail = f"A {role} changes nothing; this needs an admin."
    return Refused(HTTPStatus.FORBIDDEN, "not-allowed", detail)


def too_many_tries(retry_after_s: int) -> Refused:
    detail = f"Too many failed logins; try again in {retry_after_s} s."
    headers = {"Retry-After": str(retry_after_s)}
    return Refused(HTTPStatus.TOO_MANY_REQUESTS, "too-many-tries", detail, headers=headers)


def too_many_streams(most: int) -> Refused:
    detail = f"This login has {most} open streams already; close one."
    return Refused(HTTPStatus.TOO_MANY_REQUESTS, "too-many-streams", detail, headers={"Retry-After": "5"})


def install(app: FastAPI) -> None:
    """Answer every error of `app` with a problem."""
    app.add_exception_handler(Refused, _on_refused)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(TransientError, _on_transient)
    app.add_exception_handler(InvalidRule, _on_invalid_rule)
    for kind in _STORED:
        app.add_exception_handler(kind, _on_stored)
    app.add_exception_handler(PermanentError, _on_unexpected)


def unexpected(path: str, request_id: str) -> Response:
    """The answer to an error that nobody foresaw; the log has the rest, under the request's id."""
    return _answer(path, request_id, _internal())


async def _on_refused(request: Request, error: Exception) -> Response:
    return _problem(request, cast(Refused, error))


async def _on_validation(request: Request, error: Exception) -> Response:
    details = cast(RequestValidationError, error).errors()
    return _problem(request, _invalid([(_pointer(d["loc"]), str(d["msg"])) for d in details]))


async def _on_http(request: Request, error: Exception) -> Response:
    """What the framework itself raises: no such path, method not allowed, body too large, bad JSON."""
    raised = cast(HTTPException, error)
    status = HTTPStatus(raised.status_code)
    kind = status.phrase.lower().replace(" ", "-")
    return _problem(request, Refused(status, kind, f"{raised.detail}.", headers=raised.headers))


async def _on_transient(request: Request, error: Exception) -> Response:
    detail = "The database does not answer in time. Try again; for series, a shorter range."
    _log.warning("A request could not be served for now", path=request.url.path, reason=str(error))
    headers = {"Retry-After": "5"}
    return _problem(request, Refused(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", detail, headers=headers))


_STORED: dict[type[PermanentError], tuple[HTTPStatus, str]] = {
    NothingJudged: (HTTPStatus.NOT_FOUND, "not-found"),
    NoSuchRule: (HTTPStatus.NOT_FOUND, "not-found"),
    RuleConflict: (HTTPStatus.CONFLICT, "conflict"),
    RuleChanged: (HTTPStatus.PRECONDITION_FAILED, "changed-meanwhile"),
}
"""What storage refuses, and how that is told."""


async def _on_stored(request: Request, error: Exception) -> Response:
    status, kind = _STORED[cast(type[PermanentError], type(error))]
    return _problem(request, Refused(status, kind, f"{str(error)[:1].upper()}{str(error)[1:]}."))


async def _on_invalid_rule(request: Request, error: Exception) -> Response:
    """A field such as ``rule.models[2]`` is the pointer ``#/models/2``."""
    invalid = cast(InvalidRule, error)
    _, *path = invalid.field.replace("[", ".").replace("]", "").split(".")
    return _problem(request, _invalid([("/".join(["#", *path]), invalid.reason)]))


async def _on_unexpected(request: Request, error: Exception) -> Response:
    _log.error("A request failed", path=request.url.path, request_id=_id_of(request), exc_info=error)
    return _problem(request, _internal())


def _internal() -> Refused:
    detail = "This is an error of the server; its log has it under the request's id."
    return Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", detail)


def _invalid(errors: Sequence[tuple[str, str]]) -> Refused:
    detail = "; ".join(f"{pointer}: {text}" for pointer, text in errors[:3]) + "."
    return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", detail, errors=errors)


def _pointer(loc: Sequence[Any]) -> str:
    """Where an error of pydantic is: ``?name`` in the query, ``#/a/0`` in the body, else the name of the part."""
    place, *path = (str(part) for part in loc)
    if place == "query":
        return "?" + ".".join(path)
    if place == "body":
        return "#" + "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)
    return f"{place} {'.'.join(path)}"


def _problem(request: Request, refused: Refused) -> Response:
    return _answer(request.url.path, _id_of(request), refused)


def _id_of(request: Request) -> str:
    return str(getattr(request.state, "request_id", ""))


def _answer(path: str, request_id: str, refused: Refused) -> Response:
    body = {
        "type": f"urn:dermafleet:problem:{refused.kind}",
        "title": refused.status.phrase,
        "status": int(refused.status),
        "detail": refused.detail,
        "instance": path,
        "errors": [{"pointer": pointer, "detail": detail} for pointer, detail in refused.errors],
        "request_id": request_id,
    }
    content = msgspec.json.encode(body)
    return Response(content, status_code=refused.status, media_type=MEDIA_TYPE, headers=refused.headers)
