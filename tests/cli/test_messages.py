"""Errors that the machine makes, in words: memory that does not suffice, algorithms that do not repeat."""

import errno

import numpy as np
import pytest
import torch

from lamella.cli.messages import mistake
from lamella.errors import ConfigError, report
from lamella.inference.tiling import Member, Tiling, predict

CUDA = (
    "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.10 GiB of which 12.00 MiB is "
    "free. Process 4711 has 79.08 GiB memory in use."
)
TRAINING, SCORING = "data.batch_size", "inference.tile"


def raised(error):
    try:
        raise error
    except type(error) as caught:
        return caught


def while_predicting(error):
    def network(image):
        raise error

    with pytest.raises(type(error)) as caught:
        predict(
            [Member(lambda levels: levels, lambda grey: grey, network)],
            torch.zeros(1, 1, 8, 8),
            (8, 8),
            Tiling(32, 8, 2),
            tta=False,
        )
    return caught.value


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (torch.OutOfMemoryError(CUDA), "the GPU's memory is full: 20 MiB more do not fit"),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be ..."), "the GPU's memory is full"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "the GPU's memory is full"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
         "the GPU's memory is full"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
                      "tried to allocate 12884901888 bytes. Error code 12 (Cannot allocate memory)"),
         "this machine's memory is full: 12 GiB more do not fit"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: not enough memory: you tried to "
                      "allocate 3221225472 bytes."), "this machine's memory is full: 3 GiB more do not fit"),
        (MemoryError(), "this machine's memory is full"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "this machine's memory is full"),
    ],
)  # fmt: skip
def test_full_memory_is_named_and_what_to_change_depends_on_what_was_done(error, problem):
    said, remedy = mistake(raised(error))
    assert said == problem
    assert TRAINING in remedy
    assert SCORING not in remedy
    said, remedy = mistake(while_predicting(error))
    assert said == problem
    assert SCORING in remedy
    assert TRAINING not in remedy


def test_what_torch_and_numpy_really_say():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**47, dtype=torch.uint8)  # more than there are addresses
    assert mistake(caught.value)[0] == "this machine's memory is full: 131072 GiB more do not fit"
    with pytest.raises(MemoryError) as refused:
        np.empty(2**47, np.uint8)
    assert mistake(refused.value)[0] == "this machine's memory is full: 128 TiB more do not fit"


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (RuntimeError("can't start new thread"), "no more processes or threads"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "no more processes or threads"),
        (RuntimeError("std::bad_alloc"), "this machine's memory is full"),
        (RuntimeError("unable to mmap 64 bytes from file <x>: Cannot allocate memory (12)"), "memory is full"),
        (RuntimeError("Caught MemoryError in DataLoader worker process 0.\nOriginal Traceback ..."), "memory is full"),
    ],
)
def test_what_loaders_and_threads_cannot_have_is_named(error, problem):
    said, remedy = mistake(raised(error))
    assert problem in said
    assert "data.workers" in remedy


def test_a_secret_in_an_address_is_never_printed(capsys):
    error = ConfigError("tracking.uri must be a path; got ['http://me:s3/cr3t@host/x']")
    report((error.problem, "In job 0: tracking.uri=http://me:s3/cr3t@host/x"), error)
    said = capsys.readouterr().err
    assert "cr3t" not in said
    assert said.count("http://***@host/x") == 3


def test_an_algorithm_that_does_not_repeat_is_named():
    text = (
        "adaptive_avg_pool2d_backward_cuda does not have a deterministic implementation, but you set "
        "'torch.use_deterministic_algorithms(True)'. You can turn off determinism just for this operation, ..."
    )
    problem, remedy = mistake(RuntimeError(text))
    assert "adaptive_avg_pool2d_backward_cuda" in problem
    assert "trainer.deterministic=false" in remedy


def test_other_errors_are_bugs():
    assert mistake(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None
    assert mistake(ValueError("out of memory")) is None
