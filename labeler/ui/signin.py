"""Signing in and out: the way in is a page of its own, because nothing else is shown to who is not signed in."""

from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, Field

from labeler.accounts import LONGEST, SIGNED_IN_SECONDS, NotSignedIn, SignIns, TooManyAttempts
from labeler.ui.fields import Words
from labeler.ui.guard import SIGN_IN_COOKIE
from storage import Account
from storage.values import ROLES

PAGE = (Path(__file__).parent / "signin.html").read_text(encoding="utf-8")


class Credentials(BaseModel):
    name: Words = Field(max_length=200)
    password: Words = Field(max_length=LONGEST)


def sign_in_routes(api: APIRouter, sign_ins: SignIns) -> None:
    @api.get("/signin")
    def page() -> HTMLResponse:
        return HTMLResponse(PAGE, headers={"Cache-Control": "no-store"})

    @api.post("/signin")
    def sign_in(body: Credentials, request: Request) -> Response:
        address = request.client.host if request.client else ""
        try:
            account, cookie = sign_ins.sign_in(body.name, body.password, address)
        except NotSignedIn:
            raise HTTPException(403, "Name or password are not right.") from None
        except TooManyAttempts as too_many:
            raise HTTPException(429, str(too_many), {"Retry-After": str(round(too_many.seconds) + 1)}) from None
        answer = JSONResponse({"annotator": account.name, "role": account.role})
        answer.set_cookie(
            SIGN_IN_COOKIE,
            cookie,
            max_age=SIGNED_IN_SECONDS,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    @api.post("/signout")
    def sign_out(response: Response) -> dict[str, Any]:
        response.delete_cookie(SIGN_IN_COOKIE, httponly=True, samesite="strict")
        return {"annotator": None}


def account_of(request: Request) -> Account | None:
    """Who is signed in; None where nobody has to."""
    found: Account | None = getattr(request.state, "account", None)
    return found


def may(request: Request, role: str) -> bool:
    """Whether this is for who asks to do, as it is for a `role`. Where nobody signs in, everybody may do everything."""
    account = account_of(request)
    return account is None or ROLES.index(account.role) >= ROLES.index(role)


def must_be(request: Request, role: str) -> None:
    """403 for an account of a role that may not do this."""
    account = account_of(request)
    if account is not None and not may(request, role):
        raise HTTPException(403, f"Only {_one(role)} may do this; {account.name} is {_one(account.role)}.")


def _one(role: str) -> str:
    return f"{'an' if role[0] == 'a' else 'a'} {role}"
