"""The graph of a plain network, for every batch, height and width: ONNX for onnxruntime, .pt2 for torch.export.load."""

import contextlib
import copy
import io
import json
import logging
import math
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from onnxscript import opset18
from torch import nn
from torch.fx.experimental import _config as _any_config

from lamella.errors import ConfigError

_config: Any = _any_config  # torch adds `patch` to it when it runs

Floats = npt.NDArray[np.float32]
Runner = Callable[[npt.NDArray[Any]], Floats]

_EXAMPLE = (2, 75, 101)  # batch, height, width of what is traced: all unlike, and no multiples of what networks halve


def traced(plain: nn.Module, channels: int, dtype: str) -> torch.export.ExportedProgram:
    """The graph of a plain network, with batch, height and width left open.

    Where torch cannot prove that a size is not 1 it would refuse it, though the graph computes it rightly: sizes are
    taken as unknown while it traces, and the doubts that it noted all the same are taken out.

    Raises:
        ConfigError: torch.export cannot follow the network.
    """
    batch, height, width = _EXAMPLE
    image = torch.zeros((batch, channels, height, width), dtype=getattr(torch, dtype))
    open_ = torch.export.Dim.DYNAMIC
    try:
        with _quiet(), _config.patch(backed_size_oblivious=True), torch.no_grad():
            program = torch.export.export(
                plain,
                (image,),
                dynamic_shapes=({0: open_, 2: open_, 3: open_},),
                prefer_deferred_runtime_asserts_over_guards=True,
            )
    except Exception as error:  # whatever a network does that no graph can say
        raise ConfigError(
            f"torch.export cannot follow this network: {_first_line(error)}",
            "A network of one's own must compute the same way for every size: no branch on an image's size or levels.",
        ) from error
    _undoubted(program)
    return program


def write_pt2(path: Path, program: torch.export.ExportedProgram, facts: Mapping[str, str]) -> None:
    """Writes a program that `torch.export.load(path).module()` runs; `facts` lie in its extra file `lamella.json`."""
    with _quiet():
        program = copy.deepcopy(program)
        for node in [each for each in program.graph.nodes if each.target is round]:
            _spelt_out(program.graph, node)
        torch.export.save(program, path, extra_files={"lamella.json": json.dumps(facts, ensure_ascii=False, indent=1)})


def run_pt2(path: Path) -> Runner:
    """What a written program says of images (B, C, H, W)."""
    with _quiet():
        module = torch.export.load(path).module()

    def run(images: npt.NDArray[Any]) -> Floats:
        with torch.no_grad():
            found: Floats = module(torch.from_numpy(images)).numpy()
        return found

    return run


def write_onnx(path: Path, program: torch.export.ExportedProgram, facts: Mapping[str, str]) -> None:
    """Writes an ONNX model with the input `image` and the output `probability`; `facts` are its metadata.

    Raises:
        ConfigError: the network has an operation that ONNX does not.
    """
    try:
        with _quiet(), _config.patch(backed_size_oblivious=True):
            made = torch.onnx.export(
                program,
                dynamo=True,
                input_names=["image"],
                output_names=["probability"],
                custom_translation_table=_SIZES,
                verbose=False,
            )
    except Exception as error:  # of the exporter's many kinds
        raise ConfigError(f"this network cannot be written as ONNX: {_first_line(error)}") from error
    assert made is not None
    for value, names in ((made.model.graph.inputs[0], "input"), (made.model.graph.outputs[0], "output")):
        value.doc_string = facts[names]
    made.model.producer_name, made.model.producer_version = "lamella", facts["lamella"]
    made.model.metadata_props.clear()
    made.model.metadata_props.update(facts)
    for node in made.model.graph.all_nodes():
        node.metadata_props.clear()  # torch notes there whose files traced it
        node.doc_string = None
    made.save(path)


def run_onnx(path: Path) -> Runner:
    """What onnxruntime makes of images (B, C, H, W), from an ONNX file that its own checker has found sound."""
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(images: npt.NDArray[Any]) -> Floats:
        found: Floats = session.run(["probability"], {"image": images})[0]
        return found

    return run


def _round(size: Any, _: None = None) -> Any:
    """A size times a scale -> a whole number; to the even one of two that are as near, as Python rounds."""
    return opset18.Cast(opset18.Round(opset18.Cast(size, to=onnx.TensorProto.DOUBLE)), to=onnx.TensorProto.INT64)


def _mul(one: Any, other: Any) -> Any:
    """A size times another, or times a scale: in float64, as Python multiplies, where torch would take float32."""
    if not isinstance(other, float):
        return opset18.Mul(one, other)
    scale = onnx.helper.make_tensor("", onnx.TensorProto.DOUBLE, [], [other])
    return opset18.Mul(opset18.Cast(one, to=onnx.TensorProto.DOUBLE), opset18.Constant(value=scale))


_SIZES: dict[Callable[..., Any], Callable[..., Any]] = {
    round: _round,
    operator.mul: _mul,
}  # of what is done to sizes; torch's exporter knows no rounding


def _spelt_out(graph: torch.fx.Graph, node: Any) -> None:
    """Replaces `round`, which torch.export cannot store: of float64, 2**52 is the first number without a half."""
    size = node.args[0]
    with graph.inserting_before(node):
        for operation, arguments in ((operator.add, (2.0**52,)), (operator.sub, (2.0**52,)), (math.trunc, ())):
            size = graph.call_function(operation, (size, *arguments))
            size.meta["val"] = node.meta["val"] if operation is math.trunc else node.args[0].meta["val"]
    node.replace_all_uses_with(size)
    graph.erase_node(node)


def _undoubted(program: torch.export.ExportedProgram) -> None:
    """Takes out of a graph what would refuse sizes at which nothing is wrong."""
    graph = program.graph
    for node in list(graph.nodes):
        if node.op == "call_function" and node.target is torch.ops.aten._assert_scalar.default:
            graph.erase_node(node)
    graph.eliminate_dead_code()
    program.graph_module.recompile()
    program._guards_code = []
    ranges = program.range_constraints
    for symbol, range_ in ranges.items():
        ranges[symbol] = type(range_)(1, range_.upper)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps exporters' own remarks about their work away from the user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch.fx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
