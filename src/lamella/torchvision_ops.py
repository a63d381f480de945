"""Makes `import torchvision` work beside a CPU build of torch. Import this before whatever imports it.

PyPI's torchvision is linked against CUDA. Beside a CPU torch its operators cannot be loaded, and since it
registers shape functions for `torchvision::nms` without asking whether that operator is there, `import
torchvision` dies with `RuntimeError: operator torchvision::nms does not exist`
(https://github.com/pytorch/vision/issues/9085). timm, segmentation-models-pytorch, torchmetrics,
pytorch-lightning and mlflow.pytorch all import torchvision; none of what Lamella takes from them needs these
operators. So

    import lamella.torchvision_ops

stands above such an import. Where the operators load (a CUDA torch, or a matching pair from one index) it
is a plain `import torchvision`.
"""

import importlib
import sys

import torch

# What torchvision's C++ library would declare; without a kernel behind it, so a call still fails.
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

# torch forgets a declaration when its Library object is collected: this reference keeps it for the process.
_declared: torch.library.Library | None = None


def ensure_torchvision() -> None:
    """Imports torchvision, first declaring the operators it looks for if, and only if, they are missing.

    Raises:
        ImportError: torchvision is not installed.
        RuntimeError: torchvision cannot be imported for any other reason.
    """
    global _declared
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if _declared is not None or "operator torchvision::nms does not exist" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]  # imported by half
        _declared = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for schema in _SCHEMAS:
            _declared.define(schema)  # type: ignore[no-untyped-call]
        importlib.import_module("torchvision")


ensure_torchvision()
