"""How training goes: a bar on a terminal that can show one, else a line an epoch."""

import importlib.util
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from atled.train.options import Options

__all__ = ["Progress", "progress"]


class Progress:
    """Nothing to see: the quiet form, and what the others share."""

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        return None

    def batch(self, loss: float, accuracy: float) -> None:
        """Tell of a batch: the means of the epoch so far."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Tell of an epoch: its line of the history."""


class _Lines(Progress):
    """A line an epoch."""

    def __init__(self, total: int) -> None:
        self._total = total

    def epoch(self, row: Mapping[str, Any]) -> None:
        print(_line(row, self._total), flush=True)


class _Bar(Progress):
    """A bar over all batches, with a line above it for each epoch."""

    def __init__(self, total: int, done: int, batches: int) -> None:
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn("{task.description}"), BarColumn(bar_width=None),
            TextColumn("{task.percentage:3.0f} %"), TimeRemainingColumn(),
            TextColumn("loss {task.fields[loss]}  accuracy {task.fields[accuracy]}"),
            transient=True,
        )  # fmt: skip
        self._total, self._done = total, done
        self._task = self._bar.add_task(
            self._title(), total=total * batches, completed=done * batches, loss="…", accuracy="…"
        )

    def _title(self) -> str:
        return f"epoch {min(self._done + 1, self._total)}/{self._total}"

    def __enter__(self) -> Progress:
        self._bar.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self._bar.__exit__(kind, error, trace)

    def batch(self, loss: float, accuracy: float) -> None:
        percent = f"{100 * accuracy:5.1f} %"
        self._bar.update(self._task, advance=1, loss=f"{loss:.4f}", accuracy=percent)

    def epoch(self, row: Mapping[str, Any]) -> None:
        self._done += 1
        self._bar.update(self._task, description=self._title())
        self._bar.console.print(_line(row, self._total), highlight=False)


def _line(row: Mapping[str, Any], total: int) -> str:
    width = len(str(total))
    return (
        f"epoch {row['epoch']:{width}}/{total}   loss {row['train_loss']:.4f}   "
        f"accuracy {100 * row['train_accuracy']:5.1f} %   "
        f"test {100 * row['test_accuracy']:5.1f} %   {row['seconds']:5.2f} s"
    )


def progress(options: Options, done: int, batches: int, folder: str, quiet: bool) -> Progress:
    """Return the progress of a run and print its heading.

    Args:
        options: of the run.
        done: epochs that it has behind it.
        batches: batches of an epoch.
        folder: where its files go.
        quiet: show nothing.
    """
    if quiet:
        return Progress()
    where = "" if options.device == "cpu" else f" on {options.device}"
    print(
        f"training {options.model} with {options.optimizer} (lr {options.lr:g}, batches of "
        f"{options.batch_size}, seed {options.seed}) by the {options.backend} backend{where}"
    )
    if done:
        print(f"resuming {folder} after epoch {done} of {options.epochs}")
    if sys.stdout.isatty() and importlib.util.find_spec("rich") is not None:
        return _Bar(options.epochs, done, batches)
    return _Lines(options.epochs)
