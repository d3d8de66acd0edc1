"""Users' rules: written as drafts, tried on stored history, activated, retired."""

from dataclasses import asdict
from typing import Annotated, Any, cast
from uuid import UUID

import msgspec
from fastapi import APIRouter, Depends, Header, Request, Response, status

from dermafleet.contracts.backtests import BacktestRequest, decode_request
from dermafleet.contracts.rules import InvalidRule, Rule, decode_rule
from dermafleet.storage import backtests
from dermafleet.storage import rules as stored
from dermafleet.storage.rules import StoredRule
from services.api import rule_models as models
from services.api.auth import Editor, caller
from services.api.context import Read, Write, known_parameters_only
from services.api.pages import Cursor, Limit, cut, decode_cursor
from services.api.problems import not_found

router = APIRouter(prefix="/api/v1", tags=["rules"], dependencies=[Depends(caller), Depends(known_parameters_only)])


def _body(schema: str, *, required: bool = True) -> dict[str, Any]:  # OpenAPI is JSON of no fixed shape
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"requestBody": {"required": required, "content": content}}


async def rule_in_body(request: Request) -> Rule:
    """The rule posted. Its version is ours to give.

    Raises:
        InvalidRule: it cannot be used; the error names the field.
    """
    return decode_rule(await request.body())


Posted = Annotated[Rule, Depends(rule_in_body)]


async def expected_revision(
    if_match: Annotated[str | None, Header(description="ETag of the rule as you have seen it.")] = None,
) -> int | None:
    """What the caller has seen; None = they do not care. What cannot be an ETag of ours matches nothing."""
    if if_match is None or if_match.strip() == "*":
        return None
    number = if_match.strip().strip('"')
    return int(number) if number.isascii() and number.isdigit() and len(number) < 19 else -1


Expected = Annotated[int | None, Depends(expected_revision)]


@router.get("/rules", summary="List rules", operation_id="list_rules")
async def rules(connection: Read, limit: Limit = 50, cursor: Cursor = None) -> models.RulePage:
    """In the order of their keys."""
    rows = await stored.list_rules(connection, after=decode_cursor(cursor, str) or "", limit=limit + 1)
    page, next_cursor = cut(rows, limit, lambda row: row.key)
    data = [models.RuleSummary.model_validate(_summary(row)) for row in page]
    return models.RulePage(data=data, next_cursor=next_cursor)


@router.get("/rules/{key}", summary="One rule, its versions and its history", operation_id="get_rule")
async def rule(connection: Read, response: Response, key: str) -> models.RuleDetail:
    """Its ETag is for `If-Match`."""
    return _answer(response, await stored.need_rule(connection, key))


@router.post(
    "/rules",
    summary="Write a rule",
    operation_id="add_rule",
    status_code=status.HTTP_201_CREATED,
    openapi_extra=_body("Rule"),
)
async def add(connection: Write, who: Editor, response: Response, posted: Posted) -> models.RuleDetail:
    """As a draft: it raises nothing before it is activated. Problem `invalid-request` points to the field."""
    return _answer(response, await stored.add_rule(connection, posted, actor=who.account.email))


@router.post(
    "/rules/{key}/versions",
    summary="Write another version of a rule",
    operation_id="add_rule_version",
    status_code=status.HTTP_201_CREATED,
    openapi_extra=_body("Rule"),
)
async def add_version(
    connection: Write, who: Editor, response: Response, key: str, posted: Posted, expected: Expected
) -> models.RuleDetail:
    """As a draft: the active version, if there is one, goes on."""
    if posted.key != key:
        raise InvalidRule("rule.key", f"is {posted.key!r}, must be {key!r}")
    return _answer(response, await stored.add_version(connection, posted, actor=who.account.email, revision=expected))


@router.post("/rules/{key}/activate", summary="Activate a rule", operation_id="activate_rule")
async def activate(
    connection: Write,
    who: Editor,
    response: Response,
    key: str,
    expected: Expected,
    wanted: models.Activation | None = None,
) -> models.RuleDetail:
    """It judges what devices tell from now on; the version that was active is retired."""
    version = wanted.version if wanted else None
    return _answer(
        response,
        await stored.activate(connection, key, version=version, actor=who.account.email, revision=expected),
    )


@router.post("/rules/{key}/retire", summary="Retire a rule", operation_id="retire_rule")
async def retire(connection: Write, who: Editor, response: Response, key: str, expected: Expected) -> models.RuleDetail:
    """It judges no more. Its alarms that stand are cleared when their devices are heard of again."""
    return _answer(response, await stored.retire(connection, key, actor=who.account.email, revision=expected))


async def backtest_in_body(request: Request) -> BacktestRequest:
    """What to try a rule on. Raises as `rule_in_body`."""
    return decode_request(await request.body())


@router.post(
    "/rules/{key}/backtest",
    summary="Try a rule on stored history",
    operation_id="start_backtest",
    status_code=status.HTTP_202_ACCEPTED,
    openapi_extra=_body("BacktestRequest", required=False),
)
async def start_backtest(
    connection: Write,
    who: Editor,
    response: Response,
    key: str,
    wanted: Annotated[BacktestRequest, Depends(backtest_in_body)],
) -> models.Backtest:
    """Alerts works it off within minutes; the header `Location` says where to look."""
    job = await backtests.order(connection, key, wanted, actor=who.account.email)
    response.headers["Location"] = f"/api/v1/rules/{key}/backtest/{job.id}"
    return _backtest(job)


@router.get("/rules/{key}/backtest/{id}", summary="A backtest and its result", operation_id="get_backtest")
async def backtest(connection: Read, key: str, id: UUID) -> models.Backtest:
    job = await backtests.find_job(connection, key, id)
    if job is None:
        raise not_found("backtest", id)
    return _backtest(job)


def _backtest(job: backtests.Job) -> models.Backtest:
    request = msgspec.convert(job.request, BacktestRequest)
    return models.Backtest.model_validate({**asdict(job), "request": msgspec.structs.asdict(request)})


def _answer(response: Response, row: StoredRule) -> models.RuleDetail:
    response.headers["ETag"] = f'"{row.revision}"'
    return models.RuleDetail.model_validate(
        {
            **_summary(row),
            "versions": [_version(each) for each in row.versions],
            "history": [models.RuleEvent.model_validate(each) for each in row.events],
        }
    )


def _summary(row: StoredRule) -> dict[str, object]:
    return {
        "key": row.key,
        "fault": row.newest.rule.fault,
        "revision": row.revision,
        "active": row.active and _version(row.active),
        "newest": _version(row.newest),
    }


def _version(row: stored.RuleVersion) -> models.RuleVersion:
    return models.RuleVersion(
        version=row.version,
        state=cast(models.RuleState, row.state),
        rule=msgspec.structs.asdict(row.rule),
        created_at=row.created_at,
        created_by=row.created_by,
        activated_at=row.activated_at,
    )
