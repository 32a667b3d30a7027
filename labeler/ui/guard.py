"""The door of the page: which requests are heard at all, and what a browser may do with the answers.

The page has no accounts yet, so it must be reachable from this machine's own pages only. Two attacks come through the
browser of the person who runs it: another site posts to our address (cross-origin), or points its own name at
127.0.0.1 to read our answers (DNS rebinding). The first shows in Origin and Sec-Fetch-Site, the second in Host.
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
    """ASGI wrapper around the whole application, Gradio's routes included."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        refusal = why_refused(scope.get("method", "WEBSOCKET"), Headers(scope=scope))
        if refusal is None:
            return await self.app(scope, receive, _with_headers(send))
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008, "reason": refusal})
        return await PlainTextResponse(refusal, status_code=403)(scope, receive, send)


def why_refused(method: str, headers: Headers) -> str | None:
    """One sentence for a request that is not answered, None for one that is."""
    host = headers.get("host", "")
    if _name(f"//{host}") not in LOOPBACK:
        return f"This page answers to 127.0.0.1 and localhost only, not to {host or 'a request without a host'!r}."
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return "Requests from other pages are refused."
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not _is_link(method, headers):
        return "Requests from other pages are refused."
    return None


def _is_link(method: str, headers: Headers) -> bool:
    """A person followed a link to the page: the one thing another site may do."""
    return (
        method == "GET" and headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    )


def _name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
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
