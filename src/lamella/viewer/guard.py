"""What stands before every request: this machine's own page alone is answered, and loads nothing from elsewhere."""

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


class Guard:
    """Refuses requests of other names and other pages; gives every answer the headers that keep its page at home.

    A page from elsewhere that has its own name lead to this machine (DNS rebinding) sends that name as Host; one that
    asks under this machine's name sends where it comes from.

    Args:
        app: what answers.
        hosts: names and ports under which it may be asked for, such as "127.0.0.1:8000".
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self.app, self.hosts = app, {*hosts}
        self.origins = {f"http://{host}" for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        refusal = self._refusal(scope["method"], Headers(scope=scope))
        app = PlainTextResponse(refusal + "\n", 403) if refusal else self.app
        await app(scope, receive, answer)

    def _refusal(self, method: str, headers: Headers) -> str:
        """Why a request is refused; "" where it is not."""
        if headers.get("host", "").lower() not in self.hosts:
            return f"This page is there under {sorted(self.hosts)[0]} alone."
        from_page = headers.get("sec-fetch-site", "same-origin")
        elsewhere = from_page not in ("same-origin", "none") and headers.get("sec-fetch-mode") != "navigate"
        changes = method not in ("GET", "HEAD")
        if elsewhere or (changes and (from_page not in ("same-origin", "none"))):
            return "Only the page itself may ask for that."
        if headers.get("origin", "") not in ("", *self.origins):
            return "Only the page itself may ask for that."
        return ""
