"""The command `sync`: what could not be sent to the store, sent now."""

from pathlib import Path

from omegaconf import DictConfig

from lamella import tracking
from lamella.config.check import check
from lamella.config.paths import store_file
from lamella.config.schema import Sync
from lamella.console import console
from lamella.errors import StorageError
from lamella.tracking import alive


def run(cfg: DictConfig) -> None:
    """Sends all that waits below the folder of working folders, a line a run.

    Raises:
        StorageError: something could not be sent, which is kept; or there is no such run.
    """
    wanted, out = check(cfg, Sync), console()
    output = Path(wanted.paths.output)
    found = [
        (folder, record)
        for folder, record in tracking.waiting(output)
        if wanted.run in (None, record.run_id, record.local_id)
    ]
    if wanted.run is not None and not found:
        raise StorageError(
            f"there is no working folder of run {wanted.run!r} in {output}",
            "Either all of it was sent, or `paths.output` is another folder.",
        )
    # Whoever names a store means it for runs that none knows yet.
    uri = wanted.tracking.uri if wanted.tracking.uri != f"sqlite:///{store_file()}" else None
    away: dict[str, tracking.AwayError] = {}  # which answer only after seconds
    left, said = 0, 0
    for folder, record in found:
        store = record.uri if record.run_id is not None else uri or record.uri
        try:
            if store in away:
                raise away[store]
            done = tracking.deliver(folder, uri)
        except StorageError as error:
            if isinstance(error, tracking.AwayError):
                away[store] = error
            done = tracking.Delivered(record.run_id or record.local_id, False, error.problem)
        if done is None:
            continue
        out.print(f"run {done.run_id}: {done.said}", soft_wrap=True)
        said += 1
        left += not done.complete
    for store in {record.uri for _, record in found} - away.keys():
        alive.tell(store)
    if left:
        raise StorageError(
            f"{left} of {said} runs could not be sent completely", "They are kept: try again when their store answers."
        )
    if not said:
        out.print(f"nothing waits in {output}", soft_wrap=True)
