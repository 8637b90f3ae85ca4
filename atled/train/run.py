"""The folder of a run: claimed by one run, written atomically, read with suspicion."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from atled.io.files import write_atomically
from atled.io.state import load, load_file, load_metadata, save, save_file
from atled.train.models import MODELS
from atled.train.refusal import Refusal, refused

__all__ = ["CHECKPOINT", "MODEL", "REPORT", "claim_folder", "find_folder"]

CHECKPOINT, MODEL = "checkpoint.safetensors", "model.safetensors"
HISTORY, REPORT = "history.csv", "report.html"
COLUMNS = ("epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds")
FORMAT = "1"  # of the checkpoint


def claim_folder(parent: str, name: str | None, stem: str) -> str:
    """Make the folder of a new run.

    Args:
        parent: the folder of all runs; it is made if need be.
        name: the run's name, which must be new; by default the first free of stem-1, stem-2…

    Raises:
        Refusal: the name is taken or is not one, or the folder cannot be made.
    """
    if name is not None and (not name.strip() or os.path.basename(name) != name or name == ".."):
        raise Refusal(f"--name {name!r} is not a folder's name; use --out for where it lies")
    with refused():
        os.makedirs(parent, exist_ok=True)
        number = 0
        while True:
            number += 1
            path = os.path.join(parent, name or f"{stem}-{number}")
            try:
                os.mkdir(path)
            except FileExistsError:
                if name is not None:
                    raise Refusal(
                        f"{path} exists already; choose another --name, or continue it with "
                        f"--resume {path}"
                    ) from None
            else:
                return path


def find_folder(run: str, parent: str, file: str) -> str:
    """Return the folder of a run that is named by its path, or by its name under `parent`.

    Raises:
        Refusal: there is none, or the file that is needed is not in it.
    """
    for path in (run, os.path.join(parent, run)):
        if os.path.isfile(os.path.join(path, file)):
            return path
    if os.path.isdir(run) or os.path.isdir(os.path.join(parent, run)):
        raise Refusal(f"{run} has no {file}; is it the folder of a digits run?")
    raise Refusal(f"{run}: no such run; name its folder, such as {parent}/digits-mlp-1")


def save_checkpoint(folder: str, options: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Replace the checkpoint of a run, at once."""
    facts = {"format": FORMAT, "options": json.dumps(options)}
    with refused():
        save(os.path.join(folder, CHECKPOINT), state, facts)


def load_options(folder: str) -> dict[str, Any]:
    """Read the options of a run, among them the backend that its Tensors need.

    Raises:
        Refusal: the checkpoint is damaged, or of another version.
    """
    path = os.path.join(folder, CHECKPOINT)
    with refused():
        facts = load_metadata(path)
        options = json.loads(facts.get("options", "null"))
        if facts.get("format") != FORMAT or not isinstance(options, dict):
            raise ValueError(f"{path} is not a checkpoint that this version of atled can read")
    return options


def load_checkpoint(folder: str) -> Any:
    """Read the state of a run, with Tensors of the current backend.

    Raises:
        Refusal: the checkpoint is damaged.
    """
    with refused():
        return load(os.path.join(folder, CHECKPOINT))


def save_model(folder: str, tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Write the trained weights, by the names of the model's parameters."""
    with refused():
        save_file(tensors, os.path.join(folder, MODEL), metadata)


def save_history(folder: str, history: Sequence[Mapping[str, Any]]) -> None:
    """Write one line an epoch."""
    lines = [",".join(COLUMNS)]
    lines += [",".join(_cell(row[name]) for name in COLUMNS) for row in history]
    with refused():
        write_atomically(os.path.join(folder, HISTORY), ("\n".join(lines) + "\n").encode())


def _cell(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def save_report(folder: str, page: str) -> None:
    """Write the report."""
    with refused():
        write_atomically(os.path.join(folder, REPORT), page.encode("utf-8"))


def load_model(folder: str, dtype: Any) -> tuple[Any, str]:
    """Build the model of a run anew, with its weights, and return it with its name.

    Raises:
        Refusal: the file is damaged, or not of this job.
    """
    path = os.path.join(folder, MODEL)
    with refused():
        name = load_metadata(path).get("model", "")
        if name not in MODELS:
            raise ValueError(f"{path} does not say which model it holds; was it made by atled?")
        model = MODELS[name].build()
        model.load_state_dict(load_file(path, dtype=dtype))
    return model.eval(), name
