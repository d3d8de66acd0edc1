"""Logging in and out."""

from fastapi import APIRouter, Depends, Request, Response, status

from services.api import models
from services.api.auth import AnyCaller, drop_cookie, log_in, log_out, set_cookie
from services.api.context import InContext, Now, known_parameters_only

router = APIRouter(prefix="/api/v1", tags=["login"], dependencies=[Depends(known_parameters_only)])


@router.post("/login", summary="Log in with a password", operation_id="log_in")
async def login(
    credentials: models.Credentials, request: Request, response: Response, parts: InContext, now: Now
) -> models.Me:
    """Opens a login and sets its cookie `dermafleet_login`. Programs use an API key instead."""
    address = request.client.host if request.client else ""
    account, token = await log_in(parts, credentials.email, credentials.password, address, now)
    set_cookie(response, parts, token)
    return models.Me(email=account.email, role=account.role)


@router.post("/logout", summary="Log out", operation_id="log_out", status_code=status.HTTP_204_NO_CONTENT)
async def logout(response: Response, parts: InContext, caller: AnyCaller) -> None:
    """Ends the login; its streams end within a minute."""
    await log_out(parts, caller)
    drop_cookie(response, parts)


@router.get("/me", summary="Who am I", operation_id="get_me")
async def me(caller: AnyCaller) -> models.Me:
    """The account of the cookie or API key."""
    return models.Me(email=caller.account.email, role=caller.account.role)
