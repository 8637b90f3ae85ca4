"""The main job: what it writes, what it refuses, and that it learns on every backend."""

import csv
import hashlib
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import atled as at
from atled.backends import protocol
from atled.cli import main
from atled.io import load_file, load_metadata
from atled.train.digits import Job

ROOT = Path(__file__).parents[2]
FILES = ["checkpoint.safetensors", "history.csv", "model.safetensors", "report.html"]
TINY = ["--epochs", "1", "--batch-size", "16", "-q"]


def train(*arguments):
    return main(["train", "digits", *map(str, arguments)])


def digest(folder):
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_a_run_writes_its_folder_and_says_how_it_went(tmp_path, capsys):
    assert train("--epochs", 2, "--out", tmp_path) == 0
    folder = tmp_path / "digits-mlp-1"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    out = capsys.readouterr().out
    assert "training mlp with adam (lr 0.015, batches of 32, seed 0) by the numpy" in out
    assert re.search(r"epoch 2/2   loss 0\.\d{4}   accuracy  9\d\.\d %   test  9\d\.\d %", out)
    assert "taken for" in out
    assert "The worst mistakes" in out
    assert "██" in out
    assert re.search(r"test accuracy 9\d\.\d\d %  \(\d+ of 360 images\)", out)
    rows = list(csv.DictReader((folder / "history.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[0]["train_loss"]) > float(rows[1]["train_loss"]) > 0
    model = load_file(folder / "model.safetensors")
    assert {name: t.shape for name, t in model.items()} == {
        "0.weight": (64, 64), "0.bias": (64,), "2.weight": (10, 64), "2.bias": (10,)
    }  # fmt: skip
    assert load_metadata(folder / "model.safetensors")["model"] == "mlp"


class _Page(HTMLParser):
    """Collect tags that stand open, and addresses."""

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        self.addresses += [v for k, v in attributes if k in ("src", "href", "srcset")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_report_needs_nothing_else(trained):
    text = (trained / "report.html").read_text(encoding="utf-8")
    page = _Page(text)
    assert page.open == []
    assert page.addresses
    assert all(a.startswith("data:image/png;base64,") for a in page.addresses)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|url\(|@import|<script", text)
    for part in ("loss", "accuracy", "Confusion", "Mistakes", "One training step", "relu",
                 "0.weight", "optimizer", "adam", "seed", "CPython", at.__version__):  # fmt: skip
        assert part in text
    assert "prefers-color-scheme: dark" in text


def test_quiet_prints_the_result_only(tmp_path, small_csv, capsys):
    assert train(*TINY, "--data", small_csv, "--out", tmp_path, "--name", "x") == 0
    accuracy, report = capsys.readouterr().out.splitlines()
    assert accuracy.startswith("test accuracy ")
    assert report == f"report: {tmp_path / 'x' / 'report.html'}"


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "nadam", "radam", "adamax", "rmsprop",
                                       "adagrad", "lion", "sgd"])  # fmt: skip
def test_every_optimizer_learns(optimizer, tmp_path, capsys):
    assert train("--epochs", 2, "--optimizer", optimizer, "--out", tmp_path, "-q") == 0
    accuracy = float(re.search(r"accuracy ([\d.]+)", capsys.readouterr().out)[1])
    assert accuracy > 75


def test_names(tmp_path, small_csv, capsys):
    common = [*TINY, "--data", small_csv, "--out", tmp_path]
    for _ in range(2):
        assert train(*common) == 0
    assert (tmp_path / "digits-mlp-2").is_dir()
    assert train(*common, "--name", "digits-mlp-2") == 2
    assert "digits-mlp-2 exists already; choose another --name, or" in capsys.readouterr().err
    for name in ("a/b", "..", " "):
        assert train(*common, "--name", name) == 2
        assert "is not a folder's name; use --out" in capsys.readouterr().err
    assert train(*TINY, "--out", small_csv) == 2
    assert "File exists" in capsys.readouterr().err


def test_a_loss_that_is_lost(tmp_path, capsys):
    code = train("--optimizer", "sgd", "--lr", "1e30", "--out", tmp_path, "-q")
    assert code == 2
    err = capsys.readouterr().err
    assert re.fullmatch(r"atled: the loss became (nan|inf) in epoch 1; try a smaller .*\n", err)


# -- the user's own digits -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "column", "cell", "message"),
    [
        (3, 5, "nan", "row 3, column 5: a pixel is a number from 0 to 16; found 'nan'"),
        (1, 1, "-1", "row 1, column 1: a pixel is a number from 0 to 16; found '-1'"),
        (60, 64, "16.5", "row 60, column 64: a pixel is a number from 0 to 16; found '16.5'"),
        (7, 2, "", "row 7, column 2: a pixel is a number from 0 to 16; found ''"),
        (7, 2, "inf", "row 7, column 2: a pixel is"),
        (9, 65, "10", "row 9, column 65: a label is a digit from 0 to 9; found '10'"),
        (9, 65, "nan", "row 9, column 65: a label is a digit from 0 to 9; found 'nan'"),
        (9, 65, "1,1", "row 9: expected 64 pixels and a label, found 66 cells"),
    ],
)
def test_a_bad_cell_is_refused_with_row_and_column(
    row, column, cell, message, small_csv, tmp_path, capsys
):
    lines = small_csv.read_text().splitlines()
    cells = lines[row - 1].split(",")
    cells[column - 1] = cell
    lines[row - 1] = ",".join(cells)
    small_csv.write_text("\n".join(lines))
    assert train("--data", small_csv, "--out", tmp_path / "runs") == 2
    err = capsys.readouterr().err
    assert err.startswith(f"atled: {small_csv}: {message}")
    assert err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "there are no rows in it"),
        (b"p0,p1\n", "there are no rows in it"),
        (b"\xff\xfe1,2", "not a text file (byte 0)"),
        ((b"1," * 64 + b"3\n") * 8, "8 rows are too few to train and test on; 20 rows, and five"),
    ],
)
def test_a_file_without_digits(content, message, tmp_path, capsys):
    path = tmp_path / "mine.csv"
    path.write_bytes(content)
    assert train("--data", path, "--out", tmp_path) == 2
    assert message in capsys.readouterr().err


def test_a_heading_and_a_byte_order_mark_are_passed_over(small_csv, tmp_path):
    names = ",".join(f"p{i}" for i in range(64)) + ",label\n\n"
    small_csv.write_text("\ufeff" + names + small_csv.read_text(), encoding="utf-8")
    assert train(*TINY, "--data", small_csv, "--out", tmp_path) == 0


# -- backends ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_seed_gives_the_same_weights_on_every_backend(tmp_path, small_csv):
    pytest.importorskip("numpy")
    found = {}
    for backend in protocol.names():
        if protocol.is_installed(backend):
            run = [*TINY, "--data", small_csv, "--out", tmp_path, "--name", backend]
            for model in ("mlp", "cnn"):
                run[-1] = f"{backend}-{model}"
                assert train(*run, "--backend", backend, "--model", model) == 0
                path = tmp_path / run[-1] / "model.safetensors"
                with at.use("numpy"):
                    found[backend, model] = load_file(path, dtype="float64")
    for (_, model), tensors in found.items():
        for name, t in tensors.items():
            assert abs(t - found["numpy", model][name]).max().item() < 1e-4


def test_with_nothing_installed(tmp_path, small_csv):
    """The python backend trains, resumes and predicts where no other package can be imported."""
    program = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from atled.cli import main
run = ["--out", "runs", "--name", "bare"]
assert main(["train", "digits", *{TINY!r}, "--data", {str(small_csv)!r}, *run]) == 0
assert main(["train", "digits", "--resume", "bare", "-q"]) == 0
assert main(["predict", "bare", {str(small_csv)!r}]) == 0
assert main(["doctor"]) == 0
ours = {{name.partition(".")[0] for name in sys.modules}} - set(sys.stdlib_module_names)
print("FOREIGN", sorted(ours - {{"atled", "__main__"}}))
"""
    command = [sys.executable, "-I", "-S", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "NumPy is not installed" in done.stdout
    assert done.stdout.splitlines()[-1] == "FOREIGN []"


# -- accuracy --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("model", "least"), [("mlp", 97.0), ("cnn", 98.0)])
def test_the_published_accuracy(model, least, tmp_path, capsys):
    pytest.importorskip("numpy")
    assert train("--model", model, "--backend", "numpy", "--out", tmp_path, "-q") == 0
    assert float(re.search(r"accuracy ([\d.]+)", capsys.readouterr().out)[1]) >= least


# -- leaving and taking up -------------------------------------------------------------------------

LONG = ["--epochs", 25, "--seed", 7, "-q"]


@pytest.mark.slow
def test_a_run_that_was_killed_ends_with_the_same_weights(start, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    child = start("train", "digits", *LONG, "--out", tmp_path, "--name", "whole")
    child.communicate()
    assert child.returncode == 0
    child = start("train", "digits", *LONG, "--out", tmp_path, "--name", "killed")
    while not (killed / "history.csv").exists():
        assert child.poll() is None, child.stderr.read()
    child.kill()
    child.communicate()
    assert child.returncode == -9
    assert not (killed / "model.safetensors").exists()
    again = start("train", "digits", "--resume", killed)
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    done = re.search(r"resuming .*killed after epoch (\d+) of 25", out)
    assert 1 <= int(done[1]) < 25
    assert digest(killed) == digest(whole)
    history = [(f / "history.csv").read_text().splitlines() for f in (whole, killed)]
    without_seconds = [[line.rpartition(",")[0] for line in lines] for lines in history]
    assert without_seconds[0] == without_seconds[1]


def test_a_run_that_was_left_ends_with_the_same_weights(backend, tmp_path, small_csv, monkeypatch):
    options = ["--backend", backend, "--model", "cnn", "--data", small_csv, "--epochs", 3, "-q"]
    assert train(*options, "--out", tmp_path, "--name", "whole") == 0
    with monkeypatch.context() as patch:
        epoch = Job.train_epoch

        def stopped(job, show):
            if job.epoch == 2:
                raise KeyboardInterrupt
            return epoch(job, show)

        patch.setattr(Job, "train_epoch", stopped)
        assert train(*options, "--out", tmp_path, "--name", "left") == 130
    assert train("--resume", "left", "--out", tmp_path, "-q") == 0
    assert digest(tmp_path / "left") == digest(tmp_path / "whole")


def test_resuming_a_finished_run_changes_nothing(trained):
    before = digest(trained)
    assert train("--resume", trained, "--seed", 1, "-q") == 0
    assert digest(trained) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lr", "0.5"], "--lr 0.5 conflicts with --resume: the run was started with lr 0.015"),
        (["--batch-size", "5"], "--batch-size 5 conflicts with --resume: the run was started wit"),
        (["--model", "cnn"], "--model cnn conflicts with --resume"),
        (["--backend", "python"], "--backend python conflicts with --resume"),
        (["--name", "x"], "--name is for new runs; with --resume the run keeps its folder"),
    ],
)
def test_options_that_contradict_the_run(arguments, message, trained, capsys):
    assert train("--resume", trained, *arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"atled: {message}")
    assert err.count("\n") == 1


def test_a_run_that_is_not_there_or_damaged(tmp_path, trained, capsys):
    assert train("--resume", "none", "--out", tmp_path) == 2
    assert "none: no such run; name its folder" in capsys.readouterr().err
    assert train("--resume", tmp_path) == 2
    assert "has no checkpoint.safetensors; is it the folder of" in capsys.readouterr().err
    whole = (trained / "checkpoint.safetensors").read_bytes()
    damaged = tmp_path / "checkpoint.safetensors"
    for content, message in [
        (whole[:-1], "is it cut off?"),
        (
            whole.replace(b'\\"model\\": \\"mlp\\"', b'\\"model\\": \\"mlq\\"'),
            "asks for model 'mlq'",
        ),
        (whole.replace(b"0.weight", b"0.weighs"), "missing: 0.weight"),
        ((trained / "model.safetensors").read_bytes(), "is not a checkpoint that this version"),
    ]:
        damaged.write_bytes(content)
        assert train("--resume", tmp_path) == 2
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1


def test_data_that_has_changed(tmp_path, small_csv, capsys):
    run = ["--data", small_csv, "--out", tmp_path, "--name", "x"]
    assert train(*TINY, *run) == 0
    small_csv.write_text(small_csv.read_text().replace("16,", "15,", 1))
    assert train("--resume", tmp_path / "x") == 2
    assert "has changed since the run was started" in capsys.readouterr().err
