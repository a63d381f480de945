"""Fetching, against a real server on this machine that misbehaves in every way servers do."""

import datetime
import ipaddress
import json
import os
import re
import ssl
import time
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lamella.data.download.fetch import fetch
from lamella.errors import DataError, StorageError
from support.server import LOGIN, page, sends, serving, status, waits

ARCHIVE = b"PK\x03\x04" + np.random.default_rng(0).bytes(400_000)  # fetching looks at the first bytes only
OTHER = b"PK\x03\x04" + np.random.default_rng(1).bytes(300_000)
TWIN = b"PK\x03\x04" + np.random.default_rng(2).bytes(400_000)  # as long as the first
HALF = 200_000
QUOTA = (
    b"<html><head><title>Drive - Quota exceeded</title></head><body>Sorry. Too many users have viewed or downloaded "
    b"this file recently.</body></html>"
)
ASKS = b"""<!DOCTYPE html><html><head><title>Virus scan warning</title></head><body>
<form id="download-form" action="/download" method="get"><input type="submit" value="Download anyway"/>
<input type="hidden" name="id" value="F1&amp;2"><input type="hidden" name="export" value="download">
<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="0-1-2"></form></body></html>"""


@pytest.fixture
def web():
    with serving() as web:
        yield web


@pytest.fixture
def target(tmp_path):
    return tmp_path / "data" / "archive.zip"


def get(web, target, *, timeout=5.0, retries=3, url=None, **keywords):
    fetch(url or web.url, target, timeout=timeout, retries=retries, pause=0.01, **keywords)


def left(target):
    return sorted(path.name for path in target.parent.iterdir()) if target.parent.exists() else []


def refused(web, target, **keywords):
    """The error, in words; nothing that could be taken for the archive is left."""
    with pytest.raises(DataError) as caught:
        get(web, target, **keywords)
    assert not target.exists()
    return str(caught.value)


@pytest.mark.parametrize("length", [len(ARCHIVE), None])
def test_a_file_comes_whole_and_leaves_nothing_beside_it(web, target, length):
    web.answers = [sends(ARCHIVE, length=length or "none")]
    seen = []
    get(web, target, progress=lambda done, total: seen.append((done, total)))
    assert target.read_bytes() == ARCHIVE
    assert left(target) == ["archive.zip"]
    assert seen == sorted(seen)
    assert seen[-1] == (len(ARCHIVE), length)
    assert web.headers(0)["Accept-Encoding"] == "identity"
    assert web.headers(0)["User-Agent"].startswith("lamella/")


@pytest.mark.parametrize(
    ("kinds", "validator"),
    [
        ({}, '"one"'),
        ({"etag": None, "modified": "Wed, 21 Oct 2015 07:28:00 GMT"}, "Wed, 21 Oct 2015 07:28:00 GMT"),
        ({"etag": 'W/"weak"'}, None),
        ({"etag": None}, None),
    ],
)
def test_a_cut_is_mended_from_where_it_was(web, target, kinds, validator):
    web.answers = [sends(ARCHIVE, cut=HALF, **kinds), sends(ARCHIVE, **kinds)]
    get(web, target)
    assert target.read_bytes() == ARCHIVE
    start = int(web.headers(1)["Range"].removeprefix("bytes=").removesuffix("-"))
    assert 0 < start <= HALF
    assert web.headers(1).get("If-Range") == validator


def test_a_later_call_goes_on_where_the_earlier_stopped(web, target):
    web.answers = [sends(ARCHIVE, cut=HALF), sends(ARCHIVE)]
    message = refused(web, target, retries=0)
    assert "the connection was cut" in message
    assert "have come and are kept" in message
    have = (target.parent / "archive.zip.part").stat().st_size
    get(web, target)
    assert target.read_bytes() == ARCHIVE
    assert web.headers(1)["Range"] == f"bytes={have}-"
    assert left(target) == ["archive.zip"]


def test_many_cuts_are_mended_as_long_as_it_gets_further(web, target):
    web.answers = [sends(ARCHIVE, cut=cut) for cut in range(70_000, 400_000, 70_000)] + [sends(ARCHIVE)]
    get(web, target, retries=1)
    assert target.read_bytes() == ARCHIVE


@pytest.mark.parametrize(
    ("new", "changed"),
    [
        (ARCHIVE, {"ranges": False}),
        (OTHER, {"etag": '"two"'}),  # the server sees it by If-Range
        (TWIN, {"etag": '"two"', "heeds_if_range": False}),
        (OTHER, {"etag": None, "heeds_if_range": False}),  # only the size tells
        (ARCHIVE[:100_000], {"etag": None}),  # shorter than what has come
    ],
    ids=["no ranges", "If-Range", "ETag", "size", "shorter"],
)
def test_where_a_server_cannot_go_on_or_its_file_changed_all_is_fetched_anew(web, target, new, changed):
    first = {"etag": None} if changed.get("etag", "") is None else {}
    web.answers = [sends(ARCHIVE, cut=HALF, **first), sends(new, **changed)]
    get(web, target)
    assert target.read_bytes() == new


def gives(first, last):
    """A 206 from `first` bytes after what was asked for, up to `last` after it."""

    def answer(request):
        asked = int(request.headers["Range"][6:-1])
        body = ARCHIVE[asked + first : asked + last]
        request.send_response(206)
        request.send_header("Content-Range", f"bytes {asked + first}-{asked + first + len(body) - 1}/{len(ARCHIVE)}")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def test_another_part_than_asked_for_is_not_taken(web, target):
    web.answers = [sends(ARCHIVE, cut=HALF), gives(-7, len(ARCHIVE)), sends(ARCHIVE)]
    get(web, target)
    assert target.read_bytes() == ARCHIVE
    assert "Range" not in web.headers(2)


def test_less_than_asked_for_is_taken_and_the_rest_asked_for(web, target):
    web.answers = [sends(ARCHIVE, cut=HALF), gives(0, 1000), sends(ARCHIVE)]
    get(web, target)
    assert target.read_bytes() == ARCHIVE
    starts = [int(web.headers(number)["Range"][6:-1]) for number in (1, 2)]
    assert starts[1] == starts[0] + 1000


@pytest.mark.parametrize("note", ["{", "[]", '{"url": "http://elsewhere/", "size": 5}'])
def test_a_part_of_unknown_origin_is_not_built_upon(web, target, note):
    target.parent.mkdir()
    target.with_name("archive.zip.part").write_bytes(b"PK\x03\x04 something else")
    target.with_name("archive.zip.part.json").write_text(note)
    web.answers = [sends(ARCHIVE)]
    get(web, target)
    assert target.read_bytes() == ARCHIVE
    assert "Range" not in web.headers(0)
    assert left(target) == ["archive.zip"]


def test_a_whole_part_is_not_fetched_again(web, target):
    target.parent.mkdir()
    target.with_name("archive.zip.part").write_bytes(ARCHIVE)
    note = {"url": web.url, "etag": '"one"', "size": len(ARCHIVE)}
    target.with_name("archive.zip.part.json").write_text(json.dumps(note))
    web.answers = [status(500)]
    get(web, target)
    assert target.read_bytes() == ARCHIVE
    assert not web.asked
    assert left(target) == ["archive.zip"]


def test_a_stall_in_the_middle_is_mended(web, target):
    def stalls(request):
        sends(ARCHIVE, cut=HALF)(request)
        request.close_connection = False
        time.sleep(0.8)

    web.answers = [stalls, sends(ARCHIVE)]
    get(web, target, timeout=0.25)
    assert target.read_bytes() == ARCHIVE
    assert "Range" in web.headers(1)


def test_a_server_that_never_answers_is_given_up(web, target):
    web.answers = [waits(0.5)]
    begun = time.monotonic()
    assert "no answer in time" in refused(web, target, timeout=0.1, retries=2)
    assert time.monotonic() - begun < 5
    assert len(web.asked) == 3


def test_a_passing_fault_of_the_server_is_tried_again(web, target):
    web.answers = [status(500), status(503), status(429, Retry_After="1"), sends(ARCHIVE)]
    said = []
    begun = time.monotonic()
    get(web, target, say=said.append)
    assert said == [
        "the server answers 500 Internal Server Error: trying again in 0.01 s",
        "the server answers 503 Service Unavailable: trying again in 0.02 s",
        "the server answers 429 Too Many Requests: trying again in 1 s",
    ]
    assert time.monotonic() - begun >= 1
    assert target.read_bytes() == ARCHIVE


def test_what_is_not_there_is_not_asked_for_again(web, target):
    web.answers = [status(404)]
    assert "archive.zip answers 404" in refused(web, target)
    assert len(web.asked) == 1
    assert left(target) == []


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/zip"])
def test_a_login_page_is_no_archive(web, target, kind):
    web.answers = [page(LOGIN, kind)]
    message = refused(web, target)
    assert "a web page titled 'Sign in' that asks for a login" in message
    assert len(web.asked) == 1


def test_a_login_page_does_not_spoil_what_has_come(web, target):
    web.answers = [sends(ARCHIVE, cut=HALF), page(LOGIN), sends(ARCHIVE)]
    assert "login" in refused(web, target)
    get(web, target)
    assert "Range" in web.headers(2)
    assert target.read_bytes() == ARCHIVE


@pytest.mark.parametrize("code", [200, 403])
def test_a_used_up_quota_is_named(web, target, code):
    web.answers = [page(QUOTA, code=code)]
    assert "its daily limit of downloads is reached" in refused(web, target)


@pytest.mark.parametrize(("head", "name"), [(b"Rar!\x1a\x07", "a RAR archive"), (b"", "")])
def test_other_files_are_no_archives_either(web, target, head, name):
    web.answers = [sends(head) if head else status(200)]
    assert refused(web, target) == f"{web.url} gives no ZIP archive" + (f" but {name}" if name else "")


def drive(archive):
    """Google Drive with a large file: a page that asks first, then the file, for those who answer in full."""

    def answer(request):
        parts = urlsplit(request.path)
        fields = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/uc":
            body = ASKS
            if "Range" in request.headers and answer.cuts_pages:
                body = ASKS[:100]
                page(body, code=206)(request)
            else:
                page(body)(request)
        elif parts.path == "/download" and fields == {
            "id": "F1&2",
            "export": "download",
            "confirm": "t",
            "uuid": "0-1-2",
        }:
            archive.pop(0)(request)
        else:
            status(404)(request)

    answer.cuts_pages = False
    return answer


@pytest.mark.parametrize("cuts_pages", [False, True])
def test_the_question_about_large_files_is_answered(web, target, cuts_pages):
    answer = drive([sends(ARCHIVE, cut=HALF), sends(ARCHIVE)])
    answer.cuts_pages = cuts_pages
    web.answers = [answer]
    get(web, target, url=f"{web.root}/uc?export=download&id=F1%262")
    assert target.read_bytes() == ARCHIVE
    downloads = [headers for path, headers in web.asked if path.startswith("/download")]
    assert len(downloads) == 2
    assert "Range" in downloads[1]


def test_a_question_that_leads_to_another_page_is_no_circle(web, target):
    web.answers = [drive([page(ASKS)])]
    assert "'Virus scan warning'" in refused(web, target, url=f"{web.root}/uc")
    assert len(web.asked) == 2


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/archive.zip", "http://nowhere.invalid/archive.zip"])
def test_no_network_is_said_within_seconds(web, target, address):
    begun = time.monotonic()
    message = refused(web, target, url=address, retries=50)
    assert time.monotonic() - begun < 10
    assert re.match(r"(127\.0\.0\.1|nowhere\.invalid) cannot be reached: .*(refused|resolve|known)", message)


def test_addresses_that_lead_nowhere_are_named(web, target):
    assert "archive cannot be fetched" in refused(web, target, url="archive")
    web.answers = [status(302, Location="/archive.zip")]
    assert "redirects" in refused(web, target)


def test_a_disk_too_small_is_known_beforehand(web, target):
    web.answers = [sends(ARCHIVE, length=10**15)]
    with pytest.raises(StorageError, match=r"needs 2000\.0 TB in .*, and .* are free"):
        get(web, target)
    assert len(web.asked) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_disk_that_fills_up_is_named(web, target):
    target.parent.mkdir()
    target.with_name("archive.zip.part").symlink_to("/dev/full")
    web.answers = [sends(ARCHIVE)]
    with pytest.raises(StorageError, match="the disk is full"):
        get(web, target)


@pytest.fixture
def secure(tmp_path):
    """A server that speaks TLS, and the certificate to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    file = tmp_path / "certificate.pem"
    file.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with serving(scheme="https") as web:
        web.server.socket = context.wrap_socket(web.server.socket, server_side=True)
        yield web, file


def test_an_untrusted_certificate_is_named(secure, target):
    web, _ = secure
    web.answers = [sends(ARCHIVE)]
    message = refused(web, target)
    assert "no encrypted connection: certificate verify failed" in message
    assert "REQUESTS_CA_BUNDLE=FILE" in message


def test_encryption_is_not_given_up_on_the_way(secure, web, target, monkeypatch):
    safe, certificate = secure
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    safe.answers = [status(302, Location=web.url)]
    web.answers = [sends(ARCHIVE)]
    assert "without encryption" in refused(safe, target)
