"""The door of the page: which requests are heard at all, and what a browser may do with the answers.

Two attacks come through the browser of a person who may use the page: another site posts to our address
(cross-origin), or points its own name at our address to read our answers (DNS rebinding). The first shows in Origin and
Sec-Fetch-Site. The second shows in Host, where nobody signs in; where people do, the cookie is not sent to that name.
"""

from collections.abc import Callable
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from storage import Account

SIGN_IN = "/labeler/signin"
SIGN_IN_COOKIE = "labeler_signin"
FOR_EVERYBODY = (SIGN_IN, "/labeler/ui/")  # the way in and how it looks
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

# 'self' in every line: the browser itself refuses any request that would leave this machine.
# Gradio needs inline styles and eval for its templates.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "worker-src 'self' blob:",
        "form-action 'self'",
        "base-uri 'self'",
        "frame-ancestors 'self'",
    ]
)
ANSWER_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """ASGI wrapper around the whole application, Gradio's routes included.

    `who`: whom a cookie signs in; None where nobody has to. Routes find the account in request.state.account.
    """

    def __init__(self, app: ASGIApp, who: Callable[[str | None], Account | None] | None = None) -> None:
        self.app = app
        self.who = who

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        refusal = why_refused(scope.get("method", "WEBSOCKET"), headers, any_host=self.who is not None)
        refused: Response | None = PlainTextResponse(refusal, status_code=403) if refusal else None
        if refused is None and self.who is not None:
            refused = self._must_be_known(scope, headers, self.who)
        if refused is None:
            return await self.app(scope, receive, _with_headers(send))
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008, "reason": refusal or "Sign in first."})
        return await refused(scope, receive, _with_headers(send))

    @staticmethod
    def _must_be_known(scope: Scope, headers: Headers, who: Callable[[str | None], Account | None]) -> Response | None:
        try:
            account = who(_cookie(headers))
        except (ConnectionError, TimeoutError):
            return no_database()
        scope.setdefault("state", {})["account"] = account
        if account is None and not scope["path"].startswith(FOR_EVERYBODY):
            return _sign_in_first(scope.get("method", "WEBSOCKET"), headers)
        return None


def no_database() -> Response:
    """Asked again, it may answer: the page keeps what it could not store."""
    return JSONResponse({"detail": "The database does not answer."}, 503)


def _cookie(headers: Headers) -> str | None:
    return cookie_parser(headers.get("cookie", "")).get(SIGN_IN_COOKIE)


def _sign_in_first(method: str, headers: Headers) -> Response:
    """A person is shown where to sign in; a script gets the status."""
    if method == "GET" and "text/html" in headers.get("accept", ""):
        return RedirectResponse(SIGN_IN, status_code=303)
    return JSONResponse({"detail": "Sign in first."}, status_code=401)


def why_refused(method: str, headers: Headers, any_host: bool = False) -> str | None:
    """One sentence for a request that is not answered, None for one that is."""
    host = headers.get("host", "")
    named = _split(f"//{host}")
    if not any_host and (named is None or named.hostname not in LOOPBACK):
        return f"This page answers to 127.0.0.1 and localhost only, not to {host or 'a request without a host'!r}."
    origin = headers.get("origin")
    page = None if origin is None else _split(origin)
    if origin is not None and (page is None or page.netloc.lower() != host.lower()):
        return "Requests from other pages are refused."
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not _is_link(method, headers):
        return "Requests from other pages are refused."
    return None


def _is_link(method: str, headers: Headers) -> bool:
    """A person followed a link to the page: the one thing another site may do."""
    return (
        method == "GET" and headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    )


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:  # an unclosed bracket and the like
        return None


def _with_headers(send: Send) -> Send:
    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in ANSWER_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return answer
