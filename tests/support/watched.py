"""What torch does meanwhile, operation by operation: its waits for the device, and the bytes that are alive."""

from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

READ_BACK = {"aten::_local_scalar_dense", "aten::equal", "aten::is_nonzero", "aten::nonzero"}


class Waits(TorchDispatchMode):
    """The operations for which a host waits for its device: a value read back, a blocking copy from one to the other.

    Works on the *meta* device, which has shapes but no numbers, as on any other.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, func._schema.name
        self.operations += 1
        result = func(*args, **kwargs)
        if name in READ_BACK:
            self.found.append(name)
        elif name in ("aten::_to_copy", "aten::copy_"):
            devices = {each.device.type for each in (*args, result) if torch.is_tensor(each)}
            asked_not_to = kwargs.get("non_blocking") or args[2:3] == (True,)
            if len(devices) > 1 and not asked_not_to:
                self.found.append(name)
        return result


class Alive(TorchDispatchMode):
    """The most bytes of new tensors that were alive at once, as `peak`; on the *meta* device, too."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = {each.untyped_storage()._cdata for each in tree_leaves((args, kwargs)) if torch.is_tensor(each)}
        result = func(*args, **kwargs)
        for each in tree_leaves(result):
            if torch.is_tensor(each) and (storage := each.untyped_storage())._cdata not in given:
                self._alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self._alive = {key: each for key, each in self._alive.items() if not each[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()))
        return result
