"""The main job: train a network on hand-written digits, in a run that survives its end.

After each epoch one file holds everything that the rest depends on - weights, optimizer,
schedule, generator, history - so a run that was interrupted or killed ends with the same
weights, bit for bit, as one that was not. The order of the images and the noise on them come
from one generator, so they are the same on every backend.
"""

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from atled import functions as at
from atled.backends.protocol import current, use
from atled.compile.function import compile
from atled.core.mode import no_grad
from atled.core.tensor import Tensor
from atled.data.dataset import TensorDataset
from atled.data.digits import Digits, load_digits
from atled.data.loader import DataLoader
from atled.inspect import graph
from atled.nn import functional as F
from atled.ops.random import Generator
from atled.optim.lr_scheduler import CosineAnnealingLR
from atled.optim.optimizer import Optimizer
from atled.train import report, run, terminal
from atled.train.models import MODELS, add_noise, as_inputs
from atled.train.options import Options, make_optimizer
from atled.train.outcome import Outcome, judge
from atled.train.progress import Progress, progress
from atled.train.refusal import Refusal, refused
from atled.train.rows import divide, read_rows
from atled.train.versions import atled_version, facts

__all__ = ["Job", "train_digits"]


def train_digits(given: Mapping[str, Any], *, out: str = "runs", name: str | None = None,
                 resume: str | None = None, quiet: bool = False) -> Outcome:  # fmt: skip
    """Train on digits, or go on where a run was left; write the run's folder and say how it went.

    Args:
        given: options by name, see `options.DEFAULTS`; None stands for the default.
        out: the folder of all runs.
        name: the run's folder in it.
        resume: the folder of a run to go on with, or its name.
        quiet: print the result only.

    Raises:
        Refusal: an option or an input cannot be used; nothing was trained.
        KeyboardInterrupt: the run can be resumed; its folder is in the exception's `folder`.
    """
    if resume is None:
        options = Options.of(given)
        folder = None
    else:
        if name is not None:
            raise Refusal("--name is for new runs; with --resume the run keeps its folder")
        folder = run.find_folder(resume, out, run.CHECKPOINT)
        options = Options.resumed(run.load_options(folder), given)
    with refused():
        setting = use(options.backend, None if options.device == "cpu" else options.device)
    with setting:
        job = Job(options)
        if folder is None:
            folder = run.claim_folder(out, name, f"digits-{options.model}")
            run.save_checkpoint(folder, options.as_dict(), job.state())
        else:
            job.take_up(run.load_checkpoint(folder))
        try:
            job.train(folder, progress(options, job.epoch, len(job.loader), folder, quiet))
        except KeyboardInterrupt as error:
            error.folder = folder  # type: ignore[attr-defined]
            raise
        return job.finish(folder, quiet)


class Job:
    """A run in memory: the model, what trains it, and what it has seen.

    Args:
        options: what to do.

    Attributes:
        epoch: epochs completed.
        history: a dictionary for each of them, see `run.COLUMNS`.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.train_digits, self.test_digits, self._digest = _data(options)
        self.train_set = TensorDataset(*_tensors(self.train_digits))
        self.test_set = TensorDataset(*_tensors(self.test_digits))
        at.manual_seed(options.seed)
        self.model = MODELS[options.model].build()
        self.generator = Generator(options.seed)
        self.loader = DataLoader(
            self.train_set, options.batch_size, shuffle=True, generator=self.generator
        )
        self.optimizer = make_optimizer(options, self.model)
        steps = options.epochs * len(self.loader)
        self.schedule = CosineAnnealingLR(self.optimizer, T_max=steps)
        update = _update(self.model, self.optimizer, MODELS[options.model].noise, self.generator)
        self.update = compile(update) if options.compile else update
        self.epoch = 0
        self.history: list[dict[str, Any]] = []

    # -- training ----------------------------------------------------------------------------

    def train(self, folder: str, show: Progress) -> None:
        """Train all epochs that are left; after each, the checkpoint is complete."""
        with show, current().quiet():
            while self.epoch < self.options.epochs:
                row = self.train_epoch(show)
                self.history.append(row)
                self.epoch += 1
                run.save_checkpoint(folder, self.options.as_dict(), self.state())
                run.save_history(folder, self.history)
                show.epoch(row)

    def train_epoch(self, show: Progress) -> dict[str, Any]:
        """Train one epoch and return its line of the history."""
        started, lr = time.perf_counter(), self.optimizer.param_groups[0]["lr"]
        total = right = seen = 0.0
        self.model.train()
        for x, y in self.loader:
            loss, hits = self.step(x, y)
            total, right, seen = total + loss * len(y), right + hits, seen + len(y)
            show.batch(total / seen, right / seen)
            if not math.isfinite(loss):
                raise Refusal(
                    f"the loss became {loss} in epoch {self.epoch + 1}; try a smaller --lr "
                    f"than {self.options.lr:g}"
                )
        self.model.eval()
        test = self.judge()
        return {
            "epoch": self.epoch + 1, "lr": lr, "train_loss": total / seen,
            "train_accuracy": right / seen, "test_loss": test.loss,
            "test_accuracy": test.accuracy, "seconds": time.perf_counter() - started,
        }  # fmt: skip

    def step(self, x: Tensor, y: Tensor) -> tuple[float, int]:
        """Train on one batch; return its loss and how many of it were right."""
        loss, hits = self.update(x, y)
        self.schedule.step()
        return loss.item(), hits.item()

    def judge(self) -> Outcome:
        """Return what the model makes of the test images."""
        x, y = self.test_set.tensors
        return judge(self.model, x, y, self.test_digits)

    # -- leaving and taking up -----------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return everything that the epochs to come depend on."""
        return {
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "loader": self.loader.state_dict(),
            "history": self.history,
            "data": self._digest,
        }

    def take_up(self, state: Any) -> None:
        """Go on from what `state` returned.

        Raises:
            Refusal: it is of another model, or the user's data has changed since.
        """
        with refused():
            try:
                if state["data"] != self._digest:
                    raise ValueError(
                        f"{self.options.data} has changed since the run was started; a run goes "
                        "on with the data that it began with"
                    )
                self.model.load_state_dict(state["model"])
                self.optimizer.load_state_dict(state["optimizer"])
                self.schedule.load_state_dict(state["schedule"])
                self.loader.load_state_dict(state["loader"])
                self.epoch, self.history = int(state["epoch"]), list(state["history"])
            except (KeyError, TypeError) as error:
                raise ValueError(f"the checkpoint is not that of a digits run: {error}") from None

    # -- the end -------------------------------------------------------------------------------

    def finish(self, folder: str, quiet: bool) -> Outcome:
        """Write the model and the report, and print how it went."""
        outcome = self.judge()
        named = {"job": "digits", "model": self.options.model, "atled": atled_version()}
        run.save_model(folder, self.model.state_dict(), named)
        run.save_history(folder, self.history)
        page = report.page(
            self.options.as_dict(), self.model, self.history, outcome, self.drawing(),
            facts(self.options.backend), (len(self.train_digits), len(self.test_digits)),
        )  # fmt: skip
        run.save_report(folder, page)
        terminal.show(outcome, len(self.test_digits), folder, quiet)
        return outcome

    def drawing(self) -> str:
        """Return the graph of one training step, as SVG."""
        x, y = self.train_set[: self.options.batch_size]
        return graph(F.cross_entropy(self.model(x), y), names=self.model).svg


def _update(
    model: Any, optimizer: Optimizer, noise: float, generator: Generator
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return the function that trains on one batch: its loss, and how many of it were right."""

    def update(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        logits = model(add_noise(x, noise, generator))
        loss = F.cross_entropy(logits, y)
        optimizer.step(loss.gradients())
        with no_grad():
            hits = at.count_nonzero(at.argmax(logits, 1) == y)
        return loss.detach(), hits

    return update


def _data(options: Options) -> tuple[Digits, Digits, str | None]:
    """Return training and test digits, and a digest of the user's file if it is one."""
    if options.data is None:
        return load_digits("train"), load_digits("test"), None
    with refused():
        train, test = divide(read_rows(options.data), options.data)
        with open(options.data, "rb") as file:
            return train, test, hashlib.sha256(file.read()).hexdigest()


def _tensors(digits: Digits) -> tuple[Tensor, Tensor]:
    return as_inputs(digits.images), at.tensor(digits.labels)
