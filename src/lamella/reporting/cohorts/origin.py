"""What a network was trained on, also where it is evaluated on other data."""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lamella.tracking import FinishedRun

MASKS = "masks"
"""The kind of a run that scores masks which were made elsewhere: no network, so no device, precision or threshold."""

_PARENT = "lamella.evaluates"


class Origin(NamedTuple):
    """The data that a network was trained on, and chosen by.

    Attributes:
        name: of the data set; "" of masks that were made elsewhere, of which nobody knows.
        data: what tells data sets of one name apart.
    """

    name: str = ""
    data: str = ""

    def __str__(self) -> str:
        return f"{self.name} (data {self.data[:8]})"


def evaluated(found: Sequence[FinishedRun]) -> dict[str, FinishedRun]:
    """The runs whose networks some of these evaluate, by their ids; those that were deleted are not among them."""
    here = {run.run_id: run for run in found}
    by_parent = {run.tags[_PARENT]: run for run in found if _PARENT in run.tags}
    there = {id_: here.get(id_) or run.sibling(id_) for id_, run in by_parent.items()}
    return {id_: run for id_, run in there.items() if run is not None}


def origin(run: FinishedRun, parents: Mapping[str, FinishedRun]) -> Origin:
    """What a run's network was trained on; where the run that trained it was deleted, its id stands for it.

    Args:
        run: whose.
        parents: the runs whose networks others evaluate, by their ids.
    """
    if run.tags.get("lamella.kind") == MASKS:
        return Origin()
    id_ = run.tags.get(_PARENT)
    trained = run if id_ is None else parents.get(id_)
    if trained is None:
        return Origin("what a deleted run had", id_ or "")
    protocol = json.loads(trained.tags.get("lamella.protocol", "{}"))
    return Origin(trained.params.get("dataset.name", ""), protocol.get("data", ""))
