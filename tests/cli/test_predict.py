"""Reading digits from pictures and tables, and refusing what is neither."""

import pytest

from atled.cli import main
from atled.data import load_digits, write_png
from atled.train.bitmap import count_ink

SIDE = 8


def picture(image, zoom=10, margin=7, light_on_dark=False):
    """Return a digit as rows of gray, each pixel a square."""
    width = SIDE * zoom + 2 * margin
    rows = [[0.0] * width for _ in range(width)]
    for y in range(SIDE * zoom):
        for x in range(SIDE * zoom):
            rows[y + margin][x + margin] = image[y // zoom * SIDE + x // zoom]
    return rows if light_on_dark else [[1.0 - ink for ink in row] for row in rows]


def predict(run, path, *more):
    return main(["predict", str(run), str(path), *more])


@pytest.mark.parametrize("light_on_dark", [False, True])
def test_a_picture_of_a_digit(light_on_dark, backend, trained, tmp_path, capsys):
    image = load_digits("test").images[5]
    path = tmp_path / "five.png"
    write_png(path, picture(image, light_on_dark=light_on_dark))
    assert predict(trained, path, "--backend", backend) == 0
    out = capsys.readouterr().out
    assert "digit: 5" in out
    lines = [line.split() for line in out.splitlines()[-10:]]
    assert [line[0] for line in lines] == list("0123456789")
    assert sum(float(line[1]) for line in lines) == pytest.approx(100, abs=0.6)
    assert "█" in lines[5][-1]


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 0), (1, 2), (5, 3), (13, 40)])
def test_most_pictures_of_digits_are_read(shape, trained, tmp_path, capsys):
    digits = load_digits("test")
    right = 0
    for image, label in list(zip(digits.images, digits.labels, strict=True))[:40]:
        write_png(tmp_path / "d.png", picture(image, *shape))
        assert predict(trained, tmp_path / "d.png") == 0
        right += f"digit: {label}\n" in capsys.readouterr().out
    assert right >= 35


def test_rows_of_a_table(trained, tmp_path, small_csv, capsys):
    assert predict(trained, small_csv) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 61
    assert lines[0].startswith("row 1: 0 ")
    assert "of 60 labels agree" in lines[-1]
    path = tmp_path / "one.csv"
    path.write_text(",".join(small_csv.read_text().splitlines()[3].split(",")[:64]))
    assert predict(trained.name, path, "--out", str(trained.parent)) == 0
    assert "digit: 3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", b"not a picture", "a.png: not a PNG file"),
        ("a.png", b"\x89PNG\r\n\x1a\n", "is cut off at byte 8"),
        ("a.png", write_png(None, [[0.5] * 9] * 9), "there is nothing drawn in the image"),
        ("a.csv", b"1,2,3", "row 1: expected 64 pixels, found 3 cells"),
        ("a.csv", b"\n\n", "there are no rows in it"),
        ("a.csv", b"1," * 63 + b"nan", "row 1, column 64: a pixel is a number from 0 to 16; found"),
    ],
)
def test_a_bad_file_is_one_line_and_code_2(name, content, message, trained, tmp_path, capsys):
    path = tmp_path / name
    path.write_bytes(content)
    assert predict(trained, path) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.startswith("atled: ")
    assert err.count("\n") == 1


def test_a_file_or_run_that_is_not_there(trained, tmp_path, capsys):
    assert predict(trained, tmp_path / "no.png") == 2
    assert capsys.readouterr().err == f"atled: {tmp_path / 'no.png'}: No such file or directory\n"
    assert predict(trained, tmp_path) == 2
    assert "Is a directory" in capsys.readouterr().err
    assert predict("nowhere", tmp_path / "no.png") == 2
    assert "nowhere: no such run" in capsys.readouterr().err


def test_a_model_that_is_damaged(trained, tmp_path, capsys):
    whole = (trained / "model.safetensors").read_bytes()
    path = tmp_path / "model.safetensors"
    for content, message in [
        (whole[:100], "its header claims"),
        (whole.replace(b'"model":"mlp"', b'"model":"mlq"'), "does not say which model it holds"),
        (whole.replace(b'"model":"mlp"', b'"model":"cnn"'), "the state does not fit Sequential"),
    ]:
        path.write_bytes(content)
        assert predict(tmp_path, path) == 2
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1


# -- from a picture to 8x8 counts ------------------------------------------------------------------


def test_a_stroke_fills_the_height_and_stands_in_the_middle():
    rows = [[1.0] * 40 for _ in range(60)]
    for y in range(10, 50):
        rows[y][3] = rows[y][4] = rows[y][5] = rows[y][6] = rows[y][7] = 0.0
    counts = count_ink(rows)  # 40 by 5 pixels become 32 by 4: half of two columns
    assert counts == [0, 0, 0, 0.5, 0.5, 0, 0, 0] * 8


def test_a_wide_stroke_fills_the_width():
    rows = [[0.0] * 30 for _ in range(30)]
    rows[4] = [0.0, *[1.0] * 28, 0.0]
    counts = count_ink(rows)
    lines = [counts[i : i + 8] for i in range(0, 64, 8)]
    assert [any(line) for line in lines] == [False, False, False, True, False, False, False, False]
    assert len(set(lines[3])) == 1


def test_paper_that_is_not_quite_white_is_paper():
    clean = picture(load_digits("test").images[3])
    tinted = [[0.12 + 0.7 * v for v in row] for row in clean]
    tinted[0][0] -= 0.05
    assert count_ink(tinted) == count_ink(clean)


def test_nothing_drawn():
    with pytest.raises(ValueError, match="all of it is one shade"):
        count_ink([[0.5, 0.55], [0.5, 0.5]])
