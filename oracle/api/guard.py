"""What every HTTP caller must pass: the right host name, no other site's page, a token if one is set, no body.

The host check keeps web pages from reaching a loopback API through DNS they control; the check of sites keeps them from
making it work unheard, by requests whose replies they cannot read. The API only reads.
"""

import hmac
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

SECURITY_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        b"require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)

ALIVE = "/livez"
"""Told to anyone who reaches the port: those who start processes anew know no token, and call by any address."""


class Guard:
    """ASGI middleware."""

    def __init__(self, app: Any, hosts: Collection[str], token: str | None, free: Collection[str] = ()) -> None:
        """hosts: names and addresses without ports. free: paths that need no token: nothing of the node is there."""
        self._free = frozenset(free)
        self._app = app
        self._hosts = {host.lower() for host in hosts}
        self._token = None if token is None else token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers itself, or lets the application answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def send_secured(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *SECURITY_HEADERS]}
            await send(message)

        refusal = None if scope["path"] == ALIVE else self._refusal(headers, scope["method"], scope["path"])
        if refusal is None:
            await self._app(scope, receive, send_secured)
        else:
            status, text = refusal
            extra = {"www-authenticate": "Bearer"} if status == 401 else None
            await JSONResponse({"detail": text}, status, extra)(scope, receive, send_secured)

    def _refusal(self, headers: Headers, method: str, path: str) -> tuple[int, str] | None:
        if host_name(headers.get("host", "")) not in self._hosts:
            return 400, "unknown host name"
        if self._is_foreign(headers) and not _follows_link(headers, method, path):
            return 403, "another site's page asks"
        if self._token is not None and path not in self._free:
            given = headers.get("authorization", "").encode("latin-1")
            if not hmac.compare_digest(given, b"Bearer " + self._token):
                return 401, "a token is needed"
        if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
            return 413, "this API takes no request bodies"
        return None

    def _is_foreign(self, headers: Headers) -> bool:
        """Whether a browser says that a page of another site, or of another port of this machine, asks."""
        if headers.get("sec-fetch-site", "none") in ("cross-site", "same-site"):
            return True
        origin = headers.get("origin")
        try:
            return origin is not None and host_name(urlsplit(origin).netloc) not in self._hosts
        except ValueError:
            return True


def _follows_link(headers: Headers, method: str, path: str) -> bool:
    """Whether somebody opens the dashboard from another site's page."""
    return (method, path, headers.get("sec-fetch-mode")) == ("GET", "/", "navigate")


def host_name(header: str) -> str:
    """`header` in lower case, without port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.rpartition(":")[0].lower() if header.count(":") == 1 else header.lower()
