"""One file from the web to disk: resumed where it was cut off, tried again, and never taken for what it is not."""

import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from html.parser import HTMLParser
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from lamella.data.download.unpack import Progress, in_bytes, kind, not_written, require_room
from lamella.errors import DataError
from lamella.version import __version__

_CONNECT_S = 10  # for a connection alone: without a network the answer comes soon
_CHUNK = 1 << 16
_PAGE = 1 << 20  # bytes of a web page that are read
_PAUSE_MOST_S = 30
_PASSING = (408, 425, 429, 500, 502, 503, 504)
# `identity`: a range of a file that was compressed for the way would be of no use.
_HEADERS = {"User-Agent": f"lamella/{__version__}", "Accept-Encoding": "identity"}


def fetch(
    url: str,
    target: Path,
    *,
    timeout: float,
    retries: int,
    progress: Progress = lambda *_: None,
    say: Callable[[str], None] = lambda _: None,
    pause: float = 1.0,
) -> None:
    """Fetches a ZIP archive from the web into a file, going on where an earlier call was cut off.

    What has come so far lies in `target`.part. A server that cannot go on, or whose file has changed meanwhile, is
    asked for the whole file again. Google Drive's question whether a large file is wanted, though not scanned for
    viruses, is answered with yes.

    Args:
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
    partial = _Partial(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        furthest = at_start = partial.bytes()
        failures = 0
        with requests.Session() as session:
            while True:
                try:
                    _attempt(session, url, partial, timeout, progress)
                    break
                except requests.RequestException as error:
                    if partial.bytes() > furthest:
                        furthest, failures = partial.bytes(), 0
                    failures += 1
                    if failures > retries or (furthest == at_start and _unreachable(error)):
                        raise _given_up(url, partial.bytes(), error) from error
                    asked = "" if error.response is None else error.response.headers.get("Retry-After", "")
                    wait = float(asked) if asked.isdecimal() else 0
                    wait = min(wait or pause * 2 ** (failures - 1), _PAUSE_MOST_S)
                    say(f"{_reason(error)}: trying again in {wait:g} s")
                    time.sleep(wait)
        with partial.path.open("rb+") as file:
            os.fsync(file.fileno())
        partial.path.replace(target)
        partial.note.unlink(missing_ok=True)
    except OSError as error:  # requests' own errors are OSErrors, too, and were all dealt with
        raise not_written(target.parent, error) from error


@dataclass(frozen=True)
class _Source:
    """The file that a download is of: its address, and all that tells one version of it from another."""

    url: str
    etag: str = ""
    modified: str = ""
    size: int | None = None

    @property
    def validator(self) -> str:  # for `If-Range`: two versions are never joined, and a weak ETag promises too little
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


class _Partial:
    """A file as far as it has come (`target`.part), with a note beside it about its source."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self.note = target.with_name(f"{target.name}.part.json")

    def bytes(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def source(self, url: str) -> _Source | None:
        """The file that the bytes so far are of; None where that is not known well enough to go on with them."""
        try:
            source = _Source(**json.loads(self.note.read_text()))
        except (OSError, ValueError, TypeError):
            return None
        known = source.url == url and (source.validator or source.size is not None)
        return source if known and self.bytes() else None

    def begin(self, source: _Source) -> None:
        """Starts anew with no bytes. The old ones go first: they must never stand beside another file's note."""
        self.path.write_bytes(b"")
        self.note.write_text(json.dumps(asdict(source)))


class _Page(HTMLParser):
    """Title, text and forms of a web page that came where an archive was expected."""

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.title = self.text = self._inside = ""
        self.forms: list[tuple[str, str, dict[str, str]]] = []  # action, method, hidden fields
        self.feed(html.decode("utf-8", "replace"))
        self.title = " ".join(self.title.split())[:80]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        type_ = values.get("type", "").lower()
        if tag in ("title", "script", "style"):
            self._inside = tag
        elif tag == "form":
            self.forms.append((values.get("action", ""), values.get("method", "get").lower(), {}))
        elif tag == "input":
            self.text += f" {type_} "  # a field for a password says what the page wants
            if type_ == "hidden" and values.get("name") and self.forms:
                self.forms[-1][2][values["name"]] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "title":
            self.title += data
        elif not self._inside:
            self.text += data

    def complaint(self) -> str:
        """What kind of page it is, in words for an error: a used-up quota, a login, or neither."""
        said = f"{self.title} {self.text}".lower()
        named = "a web page" + (f" titled {self.title!r}" if self.title else "")
        if "too many users" in said or "quota" in said:
            return f"{named}: its daily limit of downloads is reached, try again tomorrow"
        login = any(word in said for word in ("sign in", "log in", "login", "you need access", "password"))
        return f"{named} that asks for a login" if login else named


def _attempt(session: requests.Session, url: str, partial: _Partial, timeout: float, progress: Progress) -> None:
    """Asks once, for what is missing; returns when the file is whole."""
    source = partial.source(url)
    have = partial.bytes() if source else 0
    if source and source.size == have:
        return
    ranged = {"Range": f"bytes={have}-"} if source else {}
    if source and source.validator:
        ranged["If-Range"] = source.validator
    with _answer(session, url, ranged, (min(_CONNECT_S, timeout), timeout)) as response:
        chunks, size = response.iter_content(_CHUNK), _size(response)
        if response.status_code == 200:
            first = next(chunks, b"")
            if (found := kind(first)) != "zip":  # not every server says what it sends
                found = _Page(first).complaint() if found == "a web page" else found
                raise DataError(f"{url} gives no ZIP archive{found and f' but {found}'}")
            headers = response.headers
            partial.begin(_Source(url, headers.get("ETag", ""), headers.get("Last-Modified", ""), size))
            have, chunks = 0, chain((first,), chunks)
        elif not (source and _continues(response, source, have)):
            partial.begin(_Source(url))
            problem = f"the server answers {response.status_code} and cannot go on where it stopped"
            raise requests.RequestException(problem)
        if size is not None:  # twice what it holds: what is unpacked is no smaller
            require_room(partial.path.parent, 2 * size - have, f"fetching {url}")
        with partial.path.open("ab") as file:
            for chunk in chunks:
                file.write(chunk)
                have += len(chunk)
                progress(have, size)
        if size is not None and have != size:
            raise requests.RequestException(f"{in_bytes(have)} came of {in_bytes(size)}")


def _answer(
    session: requests.Session, url: str, ranged: dict[str, str], timeout: tuple[float, float]
) -> requests.Response:
    """The answer to a request, past the question that Google Drive asks about large files."""

    def ask(method: str, address: str, extra: dict[str, str], **fields: Any) -> tuple[requests.Response, _Page | None]:
        response = session.request(method, address, headers=_HEADERS | extra, stream=True, timeout=timeout, **fields)
        if url.startswith("https:") and not response.url.startswith("https:"):
            raise DataError(f"{url} leads to {response.url}, without encryption: anybody on the way could change it")
        if response.status_code in _PASSING:
            raise requests.RequestException(f"the server answers {_status(response)}", response=response)
        return response, _page(response)

    try:
        response, page = ask("get", url, ranged)
        if page and response.status_code in (206, 416):  # a piece of a page says nothing
            response, page = ask("get", url, {})
        # `confirm`: the hidden field by which Google Drive is told "download anyway".
        form = next((form for form in page.forms if "confirm" in form[2]), None) if page else None
        if form and response.ok:
            action, method, hidden = form
            sent = {"data" if method == "post" else "params": hidden}
            response, page = ask(method, urljoin(response.url, action), ranged, **sent)
    except (requests.TooManyRedirects, ValueError) as error:  # a ValueError: this is no address
        raise DataError(f"{url} cannot be fetched: {error}") from error
    if response.status_code >= 400 and response.status_code != 416:
        raise DataError(f"{url} answers {_status(response)}" + (f", with {page.complaint()}" if page else ""))
    if page:
        raise DataError(f"{url} gives no archive but {page.complaint()}")
    return response


def _page(response: requests.Response) -> _Page | None:
    """The web page of an answer, as far as it matters; None where it says that it is something else."""
    if not response.headers.get("Content-Type", "").lower().startswith(("text/html", "application/xhtml")):
        return None
    text = b""
    for chunk in response.iter_content(_CHUNK):
        text += chunk
        if len(text) > _PAGE:
            break
    response.close()
    return _Page(text)


def _size(response: requests.Response) -> int | None:
    """Bytes of the whole file, where the server says so."""
    whole = response.status_code == 200
    said = response.headers.get("Content-Length" if whole else "Content-Range", "").rpartition("/")[2]
    return int(said) if said.isdecimal() else None


def _continues(response: requests.Response, source: _Source, have: int) -> bool:
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


def _given_up(url: str, have: int, error: Exception) -> DataError:
    """The error for a file that did not come, with what the user may do about it."""
    problem, came, remedies = f"{url} could not be fetched", "", []
    if have:
        came = f"; {in_bytes(have)} have come and are kept"
        remedies.append("Run the command again: it goes on where it stopped.")
    if _unreachable(error):
        problem = f"{urlsplit(url).hostname or url} cannot be reached"
        proxy = "Where a proxy opens encrypted connections, name its certificate in REQUESTS_CA_BUNDLE=FILE."
        encrypted = isinstance(error, requests.exceptions.SSLError)
        remedies.append(proxy if encrypted else "Is there a network? Behind a proxy, set HTTPS_PROXY.")
    return DataError(f"{problem}: {_reason(error)}{came}", " ".join(remedies))
