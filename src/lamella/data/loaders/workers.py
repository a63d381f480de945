"""The processes that load batches: they never outlive their parent, and how they fail is one sentence."""

import contextlib
import ctypes
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from lamella.data.types import Batch
from lamella.errors import StorageError

_SHARED = Path("/dev/shm")  # where torch passes batches from process to process on Linux
_AHEAD = 2  # batches that each process prepares, torch's own default
_IN_USE = 2  # batches that the parent has and may not have let go of
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_ASKING = ("SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")  # what asks a program to end, beside SIGTERM
_LEFT_TO_PARENT = {getattr(signal, name) for name in _ASKING if hasattr(signal, name)}


class Loader(DataLoader[Batch]):
    """A loader of batches whose processes end with this one; what they raise is raised here as it was raised there."""

    def __init__(self, dataset: Dataset[Batch], *, workers: int, **options: Any) -> None:
        super().__init__(
            _Fetched(dataset),
            num_workers=workers,
            persistent_workers=workers > 0,
            collate_fn=_as_it_is,
            worker_init_fn=_begin if workers else None,
            generator=torch.Generator(),  # of its own, or what a network draws would depend on the number of workers
            **options,
        )

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        try:
            with _held_back():
                batches = super().__iter__()
            for batch in batches:
                if isinstance(batch, _Failure):
                    raise batch.error from (_InWorkerError(batch.told) if batch.told else None)
                yield batch
        except Exception as error:
            working: Any = self._iterator
            if working is None:
                raise
            torn = isinstance(error, (ConnectionError, EOFError))  # a batch that was being handed over when one died
            if torn:
                multiprocessing.connection.wait([each.sentinel for each in working._workers], timeout=1)
            ended = [each for each in working._workers if each.exitcode is not None]
            # Here and now: the collector of cycles, in which errors are held, ends them in an order that takes 10 s.
            working._shutdown_workers()
            self._iterator = None
            if ended and (torn or "exited unexpectedly" in str(error)):  # torch names a signal where it notices first
                code = ended[0].exitcode
                how = f"is killed by signal: {signal.strsignal(-code)}" if code < 0 else "exited unexpectedly"
                raise RuntimeError(f"DataLoader worker (pid {ended[0].pid}) {how}") from error
            raise


def collate(batches: Sequence[Batch]) -> Batch:
    """One batch of samples of equal size, joined along a new first dimension; in a loader's process in shared memory.

    There a full one is an error here and now. Left to the thread that sends batches, it would never be heard of.
    """
    images, masks, valid, ids = zip(*batches, strict=True)
    tensors = torch.stack(images), torch.stack(masks), torch.stack(valid)
    if get_worker_info() is not None:
        for tensor in tensors:
            tensor.share_memory_()  # type: ignore[no-untyped-call]
    return Batch(*tensors, [name for each in ids for name in each])


def require_shared_memory(batch: int, *, workers: int, images: int = 0) -> None:
    """Checks that what the loaders' processes hand over fits the shared memory.

    Args:
        batch: bytes of a training batch.
        workers: processes that make such batches.
        images: bytes of the largest whole image that a process of its own loads ahead; 0: none does.

    Raises:
        StorageError: it does not.
    """
    if not workers or sys.platform != "linux":
        return
    needed = (workers * _AHEAD + _IN_USE) * batch + (_AHEAD + _IN_USE) * images
    with contextlib.suppress(OSError):
        found = os.statvfs(_SHARED)
        if found.f_bavail * found.f_frsize < needed:
            free = f"{found.f_bavail * found.f_frsize / 2**20:.0f} MiB are free, {needed / 2**20:.0f} MiB needed"
            raise StorageError(f"shared memory ({_SHARED}) is too small: {free}", _remedy(needed))


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """Holds signals back in processes that are begun meanwhile, in all threads that libraries begin after a fork."""
    if not hasattr(signal, "sigwaitinfo"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, *_LEFT_TO_PARENT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def die_with_parent() -> None:
    """Makes the system end this process as soon as its parent is gone, where it can (Linux)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def _remedy(needed: int) -> str:
    gib = max(1, -(-4 * needed // 2**30))
    return (
        "Set `data.workers=0`, or `data.batch_size` or `data.crop` lower; in a container give it more: "
        f"`docker run --shm-size={gib}g`."
    )


def _begin(_number: int) -> None:
    """What a loader's process does first: it dies with its parent, and leaves signals that ask to end to it."""
    die_with_parent()
    parent = multiprocessing.parent_process()
    if multiprocessing.get_start_method() == "fork" and parent is not None and os.getppid() != parent.pid:
        os._exit(1)  # it was gone before
    for number in _LEFT_TO_PARENT:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        # `timeout`, batch systems and containers send SIGTERM to all processes at once, and the parent goes on until
        # its state is saved: only its own SIGTERM counts.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # as `_held_back` did, where it was forked
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _LEFT_TO_PARENT)
        threading.Thread(target=_end_on_request, daemon=True).start()


def _end_on_request() -> None:
    while True:
        if signal.sigwaitinfo({signal.SIGTERM}).si_pid == os.getppid():
            os._exit(0)


@dataclass(frozen=True)
class _Failure:
    """What a loader's process raised: the error itself, and its traceback there, "" for none."""

    error: Exception
    told: str


class _InWorkerError(Exception):
    """The traceback in a loader's process, shown above the one here."""

    def __str__(self) -> str:
        return f"in a process that loads batches\n{self.args[0]}"


@dataclass(eq=False)
class _Fetched(Dataset[Any]):
    """A data set that gives whole batches, and in a loader's process failures instead of raising."""

    dataset: Dataset[Batch]

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, number: int) -> Batch:
        return self.dataset[number]

    def __getitems__(self, numbers: list[int]) -> Batch | _Failure:  # torch asks for a batch's by this
        try:
            return collate([self.dataset[number] for number in numbers])
        except Exception as error:
            if get_worker_info() is None:
                raise
            return _failure(error)


def _failure(error: Exception) -> _Failure:
    """A failure that can be sent: torch would make one text of error and traceback."""
    told = traceback.format_exc()
    if (
        isinstance(error, (RuntimeError, OSError))
        and "No space left on device" in str(error)
        and "torch_" in str(error)
    ):
        return _Failure(StorageError(f"shared memory ({_SHARED}) is full", _remedy(0)), "")  # says all there is to say
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return _Failure(RuntimeError(f"{type(error).__name__}: {error}"), told)
    return _Failure(error, told)


def _as_it_is(batch: Any) -> Any:
    """Stands for torch's own joining: the batch is one already."""
    return batch
