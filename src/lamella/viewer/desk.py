"""The pictures that are open on the page, and the one thread that predicts them, one after another."""

import queue
import secrets
import shutil
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from lamella.data.io.decode import suffix
from lamella.data.io.read import SUFFIXES, Pixels, foreign, header, read_image
from lamella.data.io.write.like import Like, like
from lamella.data.types import ImageRef
from lamella.errors import DataError, LamellaError
from lamella.inference.pictures import objects_in, predict_rows
from lamella.inference.tiling import classes
from lamella.novelty.collector import Collector, Judgement
from lamella.objects.measures import Block, Column, measure
from lamella.objects.regions import Bytes, Found
from lamella.prediction.file import certainty, pictures
from lamella.prediction.inputs import Input
from lamella.prediction.settings import Predictor

MOST_PIXELS = 25_000_000  # of a picture that a browser shows and a slider moves at once
_KEPT = 12  # pictures that are open at a time; of more, the oldest goes
_PATIENCE_S = 5  # for a prediction that runs when all is to end

Floats = npt.NDArray[np.float32]


@dataclass
class Page:
    """One picture of a file, and how far its prediction is.

    Attributes:
        state: what is to be said of it.
        done: share of its rows that are predicted.
        error: why there is no prediction.
        image: levels as stored (C, H, W), on disk.
        probability: float32 (K', H, W), on disk.
        spread: float32 (H, W), on disk; None where there is one view of one network.
        judgement: whether it is like what the network learned from.
        lock: held while objects are found.
        objects: those of the last threshold that was asked for.
    """

    state: Literal["new", "waiting", "running", "done", "failed"] = "new"
    done: float = 0.0
    error: LamellaError | None = None
    image: Pixels | None = None
    probability: Floats | None = None
    spread: Floats | None = None
    judgement: Judgement | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    objects: "tuple[float, Objects] | None" = None


@dataclass
class Picture:
    """A file that was dropped on the page, or one of the run's own test images.

    Attributes:
        id: its name in addresses, which nobody can guess.
        name: what its user calls it.
        refs: the pictures in it.
        like: what the file says of its axes and the size of a pixel.
        size: (H, W).
        channels, dtype: of its levels.
        folder: holds all that is made of it.
        pages: as many as `refs`.
    """

    id: str
    name: str
    refs: list[ImageRef]
    like: Like
    size: tuple[int, int]
    channels: int
    dtype: str
    folder: Path
    pages: list[Page]


class Objects(NamedTuple):
    """What was found at a threshold.

    Attributes:
        classes: uint8 (H, W), class ids.
        found: the objects.
        columns: their measures, as in `objects.csv`.
    """

    classes: Bytes
    found: Found
    columns: dict[str, Column]


class Desk:
    """Opens pictures, predicts them and finds their objects; a context that ends its thread and forgets all.

    Args:
        predictor: one network or an ensemble, on its device, with what decides what it finds.
        folder: for all that is made; its owner deletes it.
        examples: gives the run's own test images, each with its id; raises LamellaError where they cannot be had.
    """

    def __init__(
        self,
        predictor: Predictor,
        folder: Path,
        examples: Callable[[], Sequence[tuple[str, ImageRef]]],
    ) -> None:
        self.predictor, self.folder = predictor, folder
        self._examples, self._shown = examples, 0
        self._open: dict[str, Picture] = {}
        self._lock = threading.Lock()
        self._asked: queue.Queue[tuple[Picture, int] | None] = queue.Queue()
        self._ends = False
        self._thread = threading.Thread(target=self._work, name="predictions", daemon=True)

    def __enter__(self) -> "Desk":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ends = True
        self._asked.put(None)
        self._thread.join(_PATIENCE_S)

    @property
    def threshold(self) -> float:
        """Of the run itself."""
        return self.predictor.first.segmenter.inference.threshold

    @contextmanager
    def place(self, name: str) -> Iterator[Path]:
        """A file for what is about to be uploaded under a name; if that fails, it is gone. Raises DataError."""
        kind = suffix(Path(name))
        if kind not in SUFFIXES:
            known = " ".join(sorted(each for each in SUFFIXES if each != ".zarr"))
            raise foreign(Path(name)) or DataError(f"{name} is of no kind that is read here", f"There are: {known}.")
        folder = self.folder / secrets.token_urlsafe(16)
        folder.mkdir()
        try:
            yield folder / f"picture{kind}"  # the name is somebody else's: it is no path here
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def open(self, path: Path, name: str, axes: str | None) -> Picture:
        """The picture in a file that `place` gave.

        Args:
            path: of the file.
            name: what its user calls it, for messages and for what is downloaded.
            axes: what its axes are, where it does not say so itself.

        Raises:
            DataError: it cannot be read, or is too large for a page.
        """
        with _named(path, name):
            told, refs = pictures(Input(path, None, name), axes)
            return self._opened(refs, told, name, path.parent)

    def example(self) -> Picture:
        """The next of the run's own test images. Raises LamellaError where they are not here."""
        found = self._examples()
        name, ref = found[self._shown % len(found)]
        self._shown += 1
        folder = self.folder / secrets.token_urlsafe(16)
        folder.mkdir()
        told = like(ref)
        return self._opened([ref], told._replace(pictures=1, pages=""), name, folder)

    def _opened(self, refs: list[ImageRef], told: Like, name: str, folder: Path) -> Picture:
        height, width, channels, dtype = header(refs[0])
        if height * width > MOST_PIXELS:
            raise DataError(
                f"{name} has {width:,} x {height:,} pixels, and this page shows {MOST_PIXELS:,} at most",
                "`predict.py` takes images of any size: python scripts/predict.py run=ID input=FILE output=FOLDER.",
            )
        pages = [Page() for _ in refs]
        picture = Picture(folder.name, name, refs, told, (height, width), channels, str(dtype), folder, pages)
        with self._lock:
            self._open[picture.id] = picture
            old = [*self._open][:-_KEPT]
        for each in old:
            self.close(each)
        return picture

    def get(self, id_: str) -> Picture | None:
        """The open picture of an id."""
        return self._open.get(id_)

    def close(self, id_: str) -> None:
        """Forgets a picture and all that was made of it."""
        with self._lock:
            picture = self._open.pop(id_, None)
        if picture is not None:
            shutil.rmtree(picture.folder, ignore_errors=True)

    def ask(self, picture: Picture, number: int) -> None:
        """Puts a page in the line to be predicted, unless it was before."""
        page = picture.pages[number]
        with self._lock:
            if page.state in ("new", "failed"):
                page.state, page.error, page.done = "waiting", None, 0.0
                self._asked.put((picture, number))

    def ahead(self) -> int:
        """How many pages wait in the line."""
        return self._asked.qsize()

    def _work(self) -> None:
        while (asked := self._asked.get()) is not None:
            picture, number = asked
            page = picture.pages[number]
            if self._gone(picture):
                continue
            page.state = "running"
            try:
                if self._predict(picture, number, page):
                    page.state = "done"
            except LamellaError as error:
                page.error, page.state = error, "failed"
            except Exception as error:
                traceback.print_exception(error)
                said = str(error).strip().splitlines()[:1] or [type(error).__name__]
                page.error = DataError(f"{picture.name} could not be predicted: {said[0]}", "The terminal says more.")
                page.state = "failed"

    def _gone(self, picture: Picture) -> bool:
        return self._ends or picture.id not in self._open

    def _predict(self, picture: Picture, number: int, page: Page) -> bool:
        """Predicts a page into arrays on disk; False where nobody wants it any longer."""
        ref, predictor = picture.refs[number], self.predictor
        image, probability, spread = None, None, None
        collector = Collector(predictor.trained)
        with _named(ref.path, picture.name):
            for band in predict_rows(predictor.trained, ref, predictor.hardware, tta=predictor.tta):
                if self._gone(picture):
                    return False
                rows = slice(band.top, band.top + band.image.shape[1])
                if image is None:
                    image, probability = (
                        _array(picture.folder / f"{what}-{number}.npy", (*array.shape[:1], *picture.size), array.dtype)
                        for what, array in (("image", band.image), ("probability", band.probability))
                    )
                    if band.spread is not None:
                        spread = _array(picture.folder / f"spread-{number}.npy", picture.size, band.spread.dtype)
                assert probability is not None  # made with the image
                image[:, rows], probability[:, rows] = band.image, band.probability
                if spread is not None:
                    spread[rows] = band.spread
                collector.add(band)
                page.done = rows.stop / band.height
        page.judgement = collector.judgement()
        page.image, page.probability, page.spread = image, probability, spread
        return True

    def image(self, picture: Picture, number: int) -> Pixels:
        """The levels of a page as stored, (C, H, W), also before it is predicted. Raises DataError."""
        if (kept := picture.pages[number].image) is not None:
            return kept
        ref = picture.refs[number]
        with _named(ref.path, picture.name):
            return read_image(ref, picture.channels)

    def classes(self, page: Page, threshold: float) -> Bytes:
        """Class ids uint8 (H, W) of a predicted page, as the network's test would have them at that threshold."""
        found: Bytes = classes(torch.from_numpy(np.array(page.probability))[None], threshold)[0].numpy()
        return found

    def objects(self, picture: Picture, number: int, threshold: float) -> Objects:
        """The numbered objects of a predicted page, as `predict` finds them at that threshold."""
        page = picture.pages[number]
        with page.lock:
            if page.objects is None or page.objects[0] != threshold:
                folder = picture.folder / f"objects-{number}"
                page.objects = None
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                ids, how = self.classes(page, threshold), self.predictor
                found = objects_in(ids, how.first, folder)
                assert page.image is not None  # it is predicted
                assert page.probability is not None
                block = Block(0, page.image, certainty(page.probability, ids))
                columns = measure(found, [block], picture.like.spacing_nm)
                page.objects = threshold, Objects(ids, found, columns)
            return page.objects[1]


def _array(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    return np.lib.format.open_memmap(path, "w+", dtype, shape)


@contextmanager
def _named(path: Path, name: str) -> Iterator[None]:
    """Errors about a file of ours name what its user dropped."""
    try:
        yield
    except DataError as error:
        problem, remedy = (text.replace(str(path), name) for text in (error.problem, error.remedy))
        raise DataError(problem, remedy.replace("dataset.axes=", "axes=")) from error
