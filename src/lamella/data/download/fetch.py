"""One file from the web to disk: resumed where it was cut off, tried again, and never taken for what it is not."""

import re
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from lamella.data.download.part import Part, Source
from lamella.data.download.unpack import Progress, in_bytes, kind, not_written, require_room
from lamella.data.download.webpage import Page
from lamella.errors import DataError
from lamella.version import __version__

_CONNECT_S = 10  # for a connection alone: without a network the answer comes soon
_CHUNK = 1 << 16
_PAGE = 1 << 20  # bytes of a web page that are read
_PAUSE_MOST_S = 30
_PASSING = (408, 425, 429, 500, 502, 503, 504)
# `identity`: a range of a file that was compressed for the way would be of no use.
_HEADERS = {"User-Agent": f"lamella/{__version__}", "Accept-Encoding": "identity"}


class _CutError(Exception):
    """The transfer failed in a way that may pass. `wait`: seconds the server asks to be left alone."""

    def __init__(self, problem: str, wait: float = 0) -> None:
        super().__init__(problem)
        self.wait = wait


def fetch(
    url: str,
    target: Path,
    *,
    timeout: float,
    retries: int,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
    pause: float = 1.0,
) -> None:
    """Fetches a ZIP archive. What has come so far lies in `target`.part, and a later call goes on from there.

    A server that cannot go on, or whose file has changed meanwhile, is asked for the whole file again. Google
    Drive's question whether a large file is wanted, though not scanned for viruses, is answered with yes.

    Args:
        url: where it is.
        target: where it goes, once it is whole.
        timeout: seconds without a single byte after which a connection counts as broken.
        retries: how often to try again in a row without getting any further.
        progress: called with (bytes done, bytes in all where the server says so).
        say: called with a sentence before each retry.
        pause: seconds before the first retry; doubled each time.

    Raises:
        DataError: no connection, an address that does not exist, a web page instead of an archive, or retries
            that got no further.
        StorageError: the disk is full, or the folder cannot be written.
    """
    part = Part(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        furthest = at_start = part.bytes()
        failures = 0
        with requests.Session() as session:
            while True:
                try:
                    _attempt(session, url, part, timeout, progress)
                    break
                except (_CutError, requests.RequestException) as error:
                    if part.bytes() > furthest:
                        furthest, failures = part.bytes(), 0
                    elif furthest == at_start and _unreachable(error):
                        raise DataError(f"{_host(url)} cannot be reached: {_reason(error)}", _remedy(error)) from error
                    failures += 1
                    if failures > retries:
                        raise _given_up(url, part, error) from error
                    wait = min(getattr(error, "wait", 0) or pause * 2 ** (failures - 1), _PAUSE_MOST_S)
                    if say:
                        say(f"{_reason(error)}: trying again in {wait:g} s")
                    time.sleep(wait)
        part.finish()
    except OSError as error:  # requests' own errors are OSErrors, too, and were all dealt with
        raise not_written(target.parent, error) from error


def _attempt(session: requests.Session, url: str, part: Part, timeout: float, progress: Progress | None) -> None:
    """Asks once, for what is missing; returns when the file is whole."""
    source = part.source(url)
    have = part.bytes() if source else 0
    if source and source.size == have:
        return
    ranged = {"Range": f"bytes={have}-"} if source else {}
    if source and source.validator:
        ranged["If-Range"] = source.validator
    with _answer(session, url, ranged, (min(_CONNECT_S, timeout), timeout)) as response:
        chunks = response.iter_content(_CHUNK)
        size = _size(response)
        if response.status_code != 200 and not (source and _continues(response, source, have)):
            part.begin(Source(url))
            raise _CutError(f"the server answers {response.status_code} and cannot go on where it stopped")
        if response.status_code == 200:
            first = next(chunks, b"")
            _require_archive(url, first)
            source = Source(url, response.headers.get("ETag", ""), response.headers.get("Last-Modified", ""), size)
            part.begin(source)
            have, chunks = 0, chain((first,), chunks)
        if size is not None:  # twice what it holds: what is unpacked is no smaller
            require_room(part.path.parent, 2 * size - have, f"fetching {url}")
        with part.path.open("ab") as file:
            for chunk in chunks:
                file.write(chunk)
                have += len(chunk)
                if progress:
                    progress(have, size)
        if size is not None and have != size:
            raise _CutError(f"{in_bytes(have)} came of {in_bytes(size)}")


def _answer(
    session: requests.Session, url: str, ranged: dict[str, str], timeout: tuple[float, float]
) -> requests.Response:
    """The answer to a request, past the question that Google Drive asks about large files."""

    def ask(method: str, address: str, headers: dict[str, str], **fields: Any) -> requests.Response:
        response = session.request(method, address, headers=_HEADERS | headers, stream=True, timeout=timeout, **fields)
        if url.startswith("https:") and not response.url.startswith("https:"):
            raise DataError(f"{url} leads to {response.url}, without encryption: anybody on the way could change it")
        if response.status_code in _PASSING:
            wait = response.headers.get("Retry-After", "")
            raise _CutError(f"the server answers {_status(response)}", float(wait) if wait.isdecimal() else 0)
        return response

    try:
        response = ask("get", url, ranged)
        if _is_page(response) and response.status_code in (206, 416):  # a piece of a page says nothing
            response = ask("get", url, {})
        page = _page(response) if _is_page(response) else None
        form = page.confirmation() if page else None
        if form and response.ok:
            fields = {"data" if form.method == "post" else "params": form.hidden}
            response = ask(form.method, urljoin(response.url, form.action), ranged, **fields)
            page = _page(response) if _is_page(response) else None
    except (
        requests.TooManyRedirects,
        requests.exceptions.InvalidURL,
        requests.exceptions.MissingSchema,
        requests.exceptions.InvalidSchema,
    ) as error:
        raise DataError(f"{url} cannot be fetched: {error}") from error
    if response.status_code >= 400 and response.status_code != 416:
        raise DataError(f"{url} answers {_status(response)}" + (f", with {page.complaint()}" if page else ""))
    if page:
        raise DataError(f"{url} gives no archive but {page.complaint()}")
    return response


def _is_page(response: requests.Response) -> bool:
    return response.headers.get("Content-Type", "").lower().startswith(("text/html", "application/xhtml"))


def _page(response: requests.Response) -> Page:
    """The web page of an answer, as far as it matters."""
    text = b""
    for chunk in response.iter_content(_CHUNK):
        text += chunk
        if len(text) > _PAGE:
            break
    response.close()
    return Page(text.decode("utf-8", "replace"))


def _require_archive(url: str, first: bytes) -> None:
    """Not every server says what it sends."""
    found = kind(first)
    if found == "a web page":
        found = Page(first.decode("utf-8", "replace")).complaint()
    if found != "zip":
        raise DataError(f"{url} gives no ZIP archive{found and f' but {found}'}")


def _size(response: requests.Response) -> int | None:
    """Bytes of the whole file, where the server says so."""
    if response.status_code == 200:
        length = response.headers.get("Content-Length", "")
        return int(length) if length.isdecimal() else None
    total = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(total) if total.isdecimal() else None


def _continues(response: requests.Response, source: Source, have: int) -> bool:
    """Whether an answer goes on exactly where the part ends, and is of the same file."""
    start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    same_size = source.size in (None, _size(response))
    same_tag = response.headers.get("ETag", source.etag) == source.etag
    return response.status_code == 206 and start is not None and int(start[1]) == have and same_size and same_tag


def _status(response: requests.Response) -> str:
    return f"{response.status_code} {response.reason}".strip()


def _unreachable(error: Exception) -> bool:
    """Whether there was no connection at all, which trying again seldom mends."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    never = (requests.ConnectTimeout, requests.exceptions.ProxyError, requests.exceptions.SSLError)
    return isinstance(error, never) or isinstance(reason, urllib3.exceptions.NewConnectionError)


def _reason(error: Exception) -> str:
    """The plainest of the causes that requests and urllib3 wrap into each other."""
    cause = getattr(error.args[0], "reason", error.args[0]) if error.args else error
    if isinstance(error, requests.Timeout) or isinstance(cause, urllib3.exceptions.ReadTimeoutError):
        return "no answer in time"
    if isinstance(cause, urllib3.exceptions.ProtocolError):
        return "the connection was cut"
    if isinstance(error, requests.exceptions.SSLError):
        return f"no encrypted connection: {str(cause).partition('] ')[2] or cause}"
    return str(cause).rpartition("): ")[2] or str(cause)


def _remedy(error: Exception) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return "Where a proxy opens encrypted connections, name its certificate in REQUESTS_CA_BUNDLE=FILE."
    return "Is there a network? Behind a proxy, set HTTPS_PROXY."


def _given_up(url: str, part: Part, error: Exception) -> DataError:
    came = f"; {in_bytes(part.bytes())} have come and are kept" if part.bytes() else ""
    again = "Run the command again: it goes on where it stopped." if part.bytes() else ""
    return DataError(f"{url} could not be fetched: {_reason(error)}{came}", again)


def _host(url: str) -> str:
    return urlsplit(url).hostname or url
