"""The page's server: a picture comes in, its prediction goes out; all on this machine."""

import contextlib
import math
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from lamella.data.audit.pictures import class_colours
from lamella.data.io.read import SUFFIXES
from lamella.data.io.write.tiff import write_tiff
from lamella.errors import DataError, LamellaError
from lamella.pages.render import render, text_of
from lamella.plaintext import printable
from lamella.prediction.tables import write_objects
from lamella.viewer.desk import MOST_PIXELS, Desk, Page, Picture
from lamella.viewer.guard import Guard
from lamella.viewer.shown import png

_ROWS = 200  # of the table of objects on the page
_STATIC = {"style.css": "text/css", "look.css": "text/css", "look.js": "text/javascript"}


class TooLargeError(DataError):
    """An upload beyond the limit."""


def application(desk: Desk, title: str, facts: Mapping[str, str], *, upload_mb: int, port: int) -> ASGIApp:
    """What answers the page's requests.

    Args:
        desk: opens and predicts pictures.
        title: of the page.
        facts: what is said of the network, in words.
        upload_mb: a file may have so many megabytes.
        port: that it is served on.
    """
    first = desk.predictor.first
    limit = upload_mb * 10**6
    about = {
        "classes": [{"name": name, "colour": list(colour)} for name, colour in class_colours(first.class_names)],
        "names": list(first.class_names),
        "threshold": desk.threshold,
        "two": len(first.class_names) == 2,
        "probabilities": first.segmenter.gives_probabilities,
        "objects": first.objects,
        "uploadBytes": limit,
        "mostPixels": MOST_PIXELS,
    }
    html = render("look.html.j2", title=title, facts=facts, suffixes=",".join(sorted(SUFFIXES)), upload_mb=upload_mb)

    async def index(_: Request) -> Response:
        return Response(html, media_type="text/html")

    async def static(request: Request) -> Response:
        name = request.url.path.removeprefix("/")
        return Response(text_of(name), media_type=_STATIC[name])

    async def tell(_: Request) -> Response:
        return JSONResponse(about)

    async def upload(request: Request) -> Response:
        name = _name(request)
        if int(request.headers.get("content-length") or 0) > limit:
            raise _too_large(name, upload_mb)
        with desk.place(name) as path:
            size = 0
            with path.open("wb") as target:
                async for piece in request.stream():
                    size += len(piece)
                    if size > limit:
                        raise _too_large(name, upload_mb)
                    target.write(piece)
            if not size:
                raise DataError(f"{name} is empty", "Choose another file.")
            axes = request.headers.get("x-axes") or None
            picture = await run_in_threadpool(desk.open, path, name, axes)
        return JSONResponse(_told(picture), 201)

    async def example(_: Request) -> Response:
        return JSONResponse(_told(await run_in_threadpool(desk.example)), 201)

    async def close(request: Request) -> Response:
        await run_in_threadpool(desk.close, request.path_params["id"])
        return Response(status_code=204)

    async def predict(request: Request) -> Response:
        picture, number, _ = _page(desk, request)
        desk.ask(picture, number)
        return JSONResponse({}, 202)

    async def progress(request: Request) -> Response:
        _, _, page = _page(desk, request)
        told: dict[str, Any] = {
            "state": page.state,
            "done": page.done,
            "waiting": desk.ahead(),
            "spread": page.spread is not None,
        }
        if page.judgement is not None:
            told["unlike"] = page.judgement.unlike
            told["reasons"] = [printable(each) for each in page.judgement.reasons]
        return JSONResponse(told | (_said(page.error) if page.error else {}))

    async def image(request: Request) -> Response:
        picture, number, _ = _page(desk, request)
        channel = request.query_params.get("channel", "")
        if not (channel == "" and picture.channels == 3) and not channel.isdecimal():
            raise HTTPException(404)
        chosen = None if channel == "" else min(int(channel), picture.channels - 1)
        stretched = request.query_params.get("stretched") == "1"
        levels = await run_in_threadpool(desk.image, picture, number)
        made = await run_in_threadpool(png, levels, chosen, stretched=stretched)
        return Response(made, media_type="image/png")

    async def probability(request: Request) -> Response:
        _, _, page = _predicted(desk, request)
        assert page.probability is not None  # it is predicted
        which = request.query_params.get("class", "0")
        if not which.isdecimal() or int(which) >= len(page.probability):
            raise HTTPException(404)
        return _raw(page.probability[int(which)])

    async def spread(request: Request) -> Response:
        _, _, page = _predicted(desk, request)
        if page.spread is None:
            raise HTTPException(404)
        return _raw(page.spread)

    async def classes(request: Request) -> Response:
        _, _, page = _predicted(desk, request)
        return _raw(await run_in_threadpool(desk.classes, page, _threshold(request, desk)))

    async def numbers(request: Request) -> Response:
        picture, number, _ = _predicted(desk, request)
        found = await run_in_threadpool(desk.objects, picture, number, _threshold(request, desk))
        return _raw(found.found.labels)

    async def objects(request: Request) -> Response:
        picture, number, _ = _predicted(desk, request)
        return JSONResponse(await run_in_threadpool(_counted, desk, picture, number, _threshold(request, desk)))

    async def download(request: Request) -> Response:
        picture, number, _ = _predicted(desk, request)
        kind = request.path_params["kind"]
        made = await run_in_threadpool(_file, desk, picture, number, kind, _threshold(request, desk))
        stem = Path(picture.name.replace("\\", "/")).name
        stem = stem[: -len("".join(Path(stem).suffixes))] or stem if Path(stem).suffixes else stem
        name = f"{stem}_page{number:03}_{kind}" if len(picture.pages) > 1 else f"{stem}_{kind}"
        said = f"attachment; filename*=UTF-8''{quote(printable(name), safe='')}"
        return FileResponse(made, media_type="application/octet-stream", headers={"Content-Disposition": said})

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, LamellaError)  # what it is registered for
        if isinstance(error, TooLargeError):  # the rest of it is not waited for
            return JSONResponse(_said(error), 413, {"Connection": "close"})
        return JSONResponse(_said(error), 400)

    async def none(_: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        said = {
            404: ("there is no such thing here any longer", "Drop the image again."),
            405: ("that cannot be asked for in this way", ""),
        }.get(status, ("this is a fault of Lamella's own", "The terminal says more."))
        return JSONResponse({"problem": said[0], "remedy": said[1]}, status)

    async def left(_: Request, __: Exception) -> Response:
        return Response(status_code=400)  # nobody is there to read it

    one = "/pictures/{id}"
    paged = one + "/{page:int}"
    reading: list[tuple[str, Callable[[Request], Awaitable[Response]]]] = [
        ("/", index), ("/about", tell), *((f"/{name}", static) for name in _STATIC),
        (paged + "/progress", progress), (paged + "/image.png", image), (paged + "/probability", probability),
        (paged + "/spread", spread), (paged + "/classes", classes), (paged + "/numbers", numbers),
        (paged + "/objects", objects), (paged + "/files/{kind}", download),
    ]  # fmt: skip
    changing = [("/pictures", upload), ("/example", example), (one + "/close", close), (paged + "/predict", predict)]
    app = Starlette(
        routes=[
            *(Route(path, what, methods=["GET"]) for path, what in reading),
            *(Route(path, what, methods=["POST"]) for path, what in changing),
        ],
        exception_handlers={LamellaError: refused, HTTPException: none, ClientDisconnect: left, Exception: none},
    )
    return Guard(app, [f"{host}:{port}" for host in ("127.0.0.1", "localhost", "[::1]")])


def serve(app: ASGIApp, door: socket.socket) -> None:
    """Serves until Ctrl-C, or whatever else asks the process to end; a second one does not wait."""
    config = uvicorn.Config(
        app, lifespan="off", ws="none", http="h11", loop="asyncio", log_config=None, log_level="warning",
        access_log=False, server_header=False, timeout_graceful_shutdown=3,
    )  # fmt: skip
    _Server(config).run(sockets=[door])


class _Server(uvicorn.Server):
    """A server to which a signal is a wish to end, and nothing more: uvicorn would raise it again afterwards."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
        numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _name(request: Request) -> str:
    """What a user calls the file: shown, never a path."""
    name = printable(unquote(request.headers.get("x-name", "")))
    if not name or len(name) > 255:
        raise DataError("the file has no name, or one of more than 255 letters", "Rename it.")
    return name


def _too_large(name: str, upload_mb: int) -> TooLargeError:
    return TooLargeError(
        f"{name} has more than {upload_mb} MB, which this page takes",
        f"Start it with more, `upload_mb={2 * upload_mb}`; or let predict.py read the file where it lies: "
        "python scripts/predict.py run=ID input=FILE output=FOLDER.",
    )


def _page(desk: Desk, request: Request) -> tuple[Picture, int, Page]:
    """The page that an address names; HTTPException 404 where there is none."""
    picture, number = desk.get(request.path_params["id"]), request.path_params["page"]
    if picture is None or number >= len(picture.pages):
        raise HTTPException(404)
    return picture, number, picture.pages[number]


def _predicted(desk: Desk, request: Request) -> tuple[Picture, int, Page]:
    picture, number, page = _page(desk, request)
    if page.state != "done":
        raise HTTPException(404)
    return picture, number, page


def _threshold(request: Request, desk: Desk) -> float:
    """The one that is asked for, or the run's own; HTTPException 404 where it is none."""
    text = request.query_params.get("threshold")
    try:
        value = desk.threshold if text is None else float(text)
    except ValueError:
        raise HTTPException(404) from None
    if not 0 <= value <= 1:  # NaN neither
        raise HTTPException(404)
    return value


def _told(picture: Picture) -> dict[str, Any]:
    spacing = picture.like.spacing_nm
    return {
        "id": picture.id,
        "name": printable(picture.name),
        "pages": len(picture.pages),
        "letter": picture.like.pages,
        "height": picture.size[0],
        "width": picture.size[1],
        "channels": picture.channels,
        "dtype": picture.dtype,
        "pixelNm": None if spacing is None else list(spacing),
    }


def _said(error: LamellaError) -> dict[str, str]:
    return {"problem": printable(error.problem), "remedy": printable(error.remedy, lines=True)}


def _raw(array: Any) -> Response:
    """The values of an array, row by row, in the byte order that browsers have."""
    return Response(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())


def _counted(desk: Desk, picture: Picture, number: int, threshold: float) -> dict[str, Any]:
    """What the page says of the objects of a page: counts, areas, and the first of them in a table."""
    found = desk.objects(picture, number, threshold)
    names, ids = desk.predictor.first.class_names, found.found.class_ids
    unit, area = ("µm²", found.columns["area_um2"]) if "area_um2" in found.columns else ("px", found.columns["area"])
    groups = []
    for id_, name in enumerate(names):
        mine = area[ids == id_]
        if id_ == 0 and not len(mine):
            continue
        share = float(np.mean(found.classes == id_))
        groups.append({"class": name, "count": len(mine), "share": share, "median": _number(mine)})
    shown = {name: column[:_ROWS].tolist() for name, column in found.columns.items()}
    rows = {"class": [names[id_] for id_ in ids[:_ROWS]], **shown}
    return {"threshold": threshold, "count": len(ids), "unit": unit, "groups": groups, "rows": _plain(rows)}


def _number(values: Any) -> float | None:
    return float(np.median(values)) if len(values) else None


def _plain(rows: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Without NaN, which JSON does not know."""
    return {
        name: [None if isinstance(value, float) and not math.isfinite(value) else value for value in column]
        for name, column in rows.items()
    }


def _file(desk: Desk, picture: Picture, number: int, kind: str, threshold: float) -> Path:
    """A file to download; HTTPException 404 where there is no such kind."""
    page, first = picture.pages[number], desk.predictor.first
    path = picture.folder / f"{number}_{kind}"
    told = picture.like._replace(pictures=1, pages="")
    name = Path(picture.name).stem
    found = desk.objects(picture, number, threshold)
    if kind == "labels.tif":
        colours = [(0, 0, 0), *(colour for _, colour in class_colours(first.class_names))]
        write_tiff(path, found.classes, told, most=len(colours) - 1, colours=colours, name=name)
    elif kind == "objects.tif":
        most = len(found.found.class_ids)
        kind_ = np.uint16 if most < 2**16 else np.uint32
        write_tiff(path, found.found.labels, told, most=most, name=name, dtype=kind_)
    elif kind == "probability.tif" and page.probability is not None:
        several = len(page.probability) > 1
        array = page.probability if several else page.probability[0]
        write_tiff(path, array, told, most=1, name=name, channels=first.class_names if several else ())
    elif kind == "uncertainty.tif" and page.spread is not None:
        write_tiff(path, page.spread, told, most=0.5, name=name)
    elif kind == "objects.csv":
        names = [first.class_names[id_] for id_ in found.found.class_ids]
        with path.open("w", encoding="utf-8", newline="") as file:
            write_objects(file, number if len(picture.pages) > 1 else None, found.columns, names, head=True)
    else:
        raise HTTPException(404)
    return path
