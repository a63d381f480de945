"""torchvision beside a CPU build of torch."""

import importlib

import pytest
import torch

import lamella.torchvision_ops as torchvision_ops


def test_torchvision_is_imported_whether_or_not_its_operators_load() -> None:
    torchvision_ops.ensure_torchvision()
    models = importlib.import_module("torchvision.models")
    assert models.get_model_weights("vgg11") is not None
    assert hasattr(torch.ops.torchvision, "nms")


def test_other_errors_of_an_import_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(RuntimeError, match="something else"):
        torchvision_ops.ensure_torchvision()
