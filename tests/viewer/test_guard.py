"""Who is answered: this machine's own page, and nobody else."""

import asyncio

import pytest
from starlette.responses import PlainTextResponse

from lamella.viewer.guard import Guard

GUARD = Guard(PlainTextResponse("inside"), ["127.0.0.1:8000", "localhost:8000", "[::1]:8000"])


def asked(method="GET", **headers):
    """Status, headers and text of an answer."""
    sent = []
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": "/", "headers": named, "query_string": b""}

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(GUARD(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"].decode()


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "LOCALHOST:8000", "[::1]:8000"])
def test_this_machine_is_answered_under_its_names(host):
    assert asked(host=host)[::2] == (200, "inside")
    assert asked("POST", host=host, origin=f"http://{host.lower()}", sec_fetch_site="same-origin")[0] == 200


@pytest.mark.parametrize(
    "host", ["", "evil.org", "evil.org:8000", "127.0.0.1", "127.0.0.1:80", "127.0.0.1.evil.org:8000"]
)
def test_a_foreign_host_is_refused(host):
    status, _, said = asked(host=host)
    assert (status, said) == (403, "This page is there under 127.0.0.1:8000 alone.\n")


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", {"origin": "http://evil.org"}),
        ("POST", {"origin": "null"}),
        ("POST", {"origin": "http://127.0.0.1:5000"}),
        ("POST", {"origin": "https://127.0.0.1:8000"}),
        ("POST", {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}),
        ("GET", {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}),
        ("GET", {"sec_fetch_site": "same-site", "sec_fetch_mode": "cors", "origin": "http://127.0.0.1:5000"}),
    ],
)
def test_another_page_is_refused(method, headers):
    assert asked(method, host="127.0.0.1:8000", **headers)[::2] == (403, "Only the page itself may ask for that.\n")


def test_a_link_from_elsewhere_leads_to_the_page():
    assert asked(host="127.0.0.1:8000", sec_fetch_site="cross-site", sec_fetch_mode="navigate")[0] == 200


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "evil.org"])
def test_every_answer_keeps_its_page_at_home(host):
    headers = asked(host=host)[1]
    policy = headers[b"content-security-policy"].decode()
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"cross-origin-resource-policy"] == b"same-origin"
