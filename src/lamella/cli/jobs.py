"""What becomes of the jobs of a sweep: a file for each in the sweep's folder, a line as one ends, a table at the end.

Files, since a job may run in a process that a launcher started.
"""

import contextlib
import json
import os
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from math import isnan, nan
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lamella.cli import signals
from lamella.cli.messages import mistake, written
from lamella.config.paths import typed
from lamella.console import clock, console
from lamella.errors import report, without_secrets
from lamella.training.stopping import Stopped

_FAILED = ("failed", "failed before")


@dataclass(frozen=True)
class Record:
    """What became of a job so far.

    Attributes:
        number: Hydra's, from 0.
        what: that tells it from the others, such as "model=unet seed=2".
        began: when, in seconds since 1970.
        state: "running", "finished", "failed", "interrupted"; or what `lamella.commands.jobs.Done` says.
        run_id: of its run; "" where it has none.
        resumed: whether an earlier run was gone on with.
        score: its mean test Dice; None where it has none.
        seconds: that it took.
        message: why it failed, or what else is to be said.
    """

    number: int
    what: str
    began: float
    state: str = "running"
    run_id: str = ""
    resumed: bool = False
    score: float | None = None
    seconds: float = 0
    message: str = ""

    @property
    def ran(self) -> bool:
        """Whether it ran in this sweep, to an end of its own."""
        return self.state in ("finished", "failed")

    @property
    def told(self) -> str:
        """Its state, in words."""
        return f"resumed, {self.state}" if self.resumed else self.state


@dataclass(frozen=True)
class Jobs:
    """The jobs of a sweep, as each of them knows of them.

    Attributes:
        sweep: the name that all share.
        folder: the sweep's.
        count: how many there are; None where a sweeper decides meanwhile.
        shared: overrides that all of them have.
    """

    sweep: str
    folder: Path
    count: int | None
    shared: frozenset[str]

    def clear(self) -> None:
        """Forgets what an earlier sweep of the same folder left there."""
        for file in (self.folder / "jobs").glob("*"):
            file.unlink(missing_ok=True)

    def run(self, job: Callable[[DictConfig], Any], cfg: DictConfig, debug: bool) -> Any:
        """What a job returns, run in this process; NaN of one that failed, which it tells of at once, or was not begun.

        Args:
            job: the command.
            cfg: of the job.
            debug: whether tracebacks are shown of mistakes, too; of bugs they always are.
        """
        global _at_work
        said: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
        overrides = [str(each) for each in said]
        number = int(HydraConfig.get().job.num)
        if OmegaConf.select(cfg, "fail_fast") and self.failed:
            return nan
        what = " ".join(each for each in overrides if each not in self.shared)
        _at_work = at_work = AtWork(self, Record(number, what, time.time()))
        try:
            result = job(cfg)
        except Exception as error:
            if signal := signals.asked():  # what it meets on its way out is no mistake
                at_work.interrupted()
                raise Stopped(signal) from error
            message = mistake(error, written(cfg))
            problem, remedy = message or (f"{type(error).__name__}: {error}".splitlines()[0], "")
            remedy = "\n  ".join(filter(None, (remedy, self.which(number, overrides))))
            shown = message is None or debug
            report((problem, remedy), error if shown else None)
            text = "".join(traceback.format_exception(error))
            self._write(f"{number}.txt", f"{problem}\n  {remedy}\n\n{text}")
            at_work.ended(at_work.record.run_id, "failed", nan, problem)
            return nan
        except BaseException:
            at_work.interrupted()
            raise
        else:
            if at_work.record.state == "running":  # of a command that has nothing to tell
                at_work.ended("", "finished", nan, "")
            return result
        finally:
            _at_work = None
            self._say(at_work.record)

    @property
    def failed(self) -> bool:
        """Whether a job failed, in this sweep or in an earlier one."""
        return any(each.state in _FAILED for each in self.records())

    def records(self) -> list[Record]:
        """Of all jobs that were begun, in any process, in order."""
        found = []
        for file in (self.folder / "jobs").glob("*.json"):
            with contextlib.suppress(OSError, ValueError, TypeError):
                found.append(Record(**json.loads(file.read_text())))
        return sorted(found, key=lambda record: record.number)

    def write(self, record: Record) -> None:
        """Keeps what became of a job."""
        self._write(f"{record.number}.json", json.dumps(asdict(record)))

    def which(self, number: int, overrides: Sequence[str]) -> str:
        """The job that is meant, by its place and what it was given."""
        return f"In {self._name(number)}: {' '.join(overrides)}"

    def table(self, out: Console) -> None:
        """Prints what became of every job, and how to go on."""
        records = {each.number: each for each in self.records()}
        table = Table(title=f"sweep {self.sweep}", title_justify="left")
        for heading in ("job", "", "state", "Dice", "time", "run", "message"):
            right = heading in ("job", "Dice", "time")
            fold = heading in ("", "message")
            table.add_column(heading, justify="right" if right else "left", no_wrap=not fold, overflow="fold")
        numbers = range(self.count) if self.count is not None else records
        for number in numbers:
            if record := records.get(number):
                took = clock(record.seconds) if record.seconds else ""
                score = "" if record.score is None else f"{record.score:.4f}"
                cells = (record.what, record.told, score, took, record.run_id, record.message)
            else:
                cells = ("", "not begun", "", "", "", "")
            table.add_row(str(number + 1), *map(Text, cells))
        out.print(table)
        states = [records[number].state if number in records else "not begun" for number in numbers]
        if failed := sum(state in _FAILED for state in states):
            out.print(
                f"{failed} of {len(states)} jobs failed: {self.folder / 'jobs'} has their tracebacks. Once mended,"
            )
            out.print("the same command with retry_failed=true runs them again, and nothing that is finished.")
        if left := sum(state in ("interrupted", "not begun") for state in states):
            out.print(
                f"{left} of {len(states)} jobs are not done: the same command goes on with them, {typed('train')} -m"
            )
        if elsewhere := states.count("running elsewhere"):
            out.print(f"{elsewhere} of {len(states)} jobs are at work in another process, and were left to it.")

    def _say(self, record: Record) -> None:
        """Prints the line of a job that has come to its end here."""
        parts = [record.told]
        if record.score is not None:
            parts.append(f"Dice {record.score:.4f}")
        if record.seconds and record.ran:
            parts.append(clock(record.seconds))
        elif record.run_id:
            parts.append(f"run {record.run_id}")
        line = f"{self._name(record.number)}: {record.what}{': ' if record.what else ''}{', '.join(parts)}"
        left = self._left()
        if record.message and record.state != "failed":
            line += f" ({record.message})"
        console().print(line + (f"; left about {clock(left)}" if left else ""))

    def _left(self) -> float:
        """Seconds that the rest will take about, by the mean of what jobs took so far; 0 where that is not known."""
        records = self.records()
        took = [each.seconds for each in records if each.ran]
        if self.count is None or not took:
            return 0
        mean, now = sum(took) / len(took), time.time()
        running = [max(mean - (now - each.began), 0) for each in records if each.state == "running"]
        waiting = self.count - len(records)
        return (waiting * mean + sum(running)) / max(1, len(running) + bool(waiting))

    def _name(self, number: int) -> str:
        return f"job {number + 1}" + (f" of {self.count}" if self.count else "")

    def _write(self, name: str, text: str) -> None:
        file = self.folder / "jobs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_name(f"{name}.{os.getpid()}.part")
        beside.write_text(without_secrets(text), encoding="utf-8", errors="backslashreplace")
        beside.replace(file)


class AtWork:
    """The job of a sweep that runs in this process; what it tells is kept at once."""

    def __init__(self, jobs: Jobs, record: Record) -> None:
        self.sweep, self._jobs, self.record = jobs.sweep, jobs, record
        jobs.write(record)

    def opened(self, run_id: str, resumed: bool) -> None:
        """It has a run now: a new one, or an earlier one that is gone on with."""
        self.record = replace(self.record, run_id=run_id, resumed=resumed)
        self._jobs.write(self.record)

    def ended(self, run_id: str, state: str, score: float, message: str) -> None:
        """It has come to its end, or was not begun."""
        self.record = replace(
            self.record,
            run_id=run_id,
            state=state,
            score=None if isnan(score) else score,
            seconds=time.time() - self.record.began if state in ("finished", "failed") else 0,
            message=message,
        )
        self._jobs.write(self.record)

    def interrupted(self) -> None:
        """A signal ends it."""
        self.record = replace(self.record, state="interrupted", seconds=time.time() - self.record.began)
        self._jobs.write(self.record)


_at_work: AtWork | None = None


def at_work() -> AtWork | None:
    """The job of a sweep that runs in this process; None outside a sweep."""
    return _at_work
