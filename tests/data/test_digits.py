"""The digits that ship with atled: whole, balanced, divided by the published rule."""

import gzip
import hashlib
from collections import Counter
from pathlib import Path

import pytest

import atled.data.digits as module
from atled.data.digits import CLASSES, SIDE, load_digits

FILE = Path(module.__file__).with_name("digits.csv.gz")
ABOUT = FILE.with_name("DIGITS.md")
TABLE = gzip.decompress(FILE.read_bytes()).decode("ascii")
HEADER, FIRST = TABLE.splitlines()[:2]


def test_the_counts_are_the_published_ones():
    assert len(load_digits()) == len(load_digits("train")) == 1437
    assert len(load_digits("test")) == 360
    assert repr(load_digits("test")) == "Digits(360 images of 8x8 pixels)"


@pytest.mark.parametrize("split", ["train", "test"])
def test_images_are_64_pixels_in_sixteenths(split):
    digits = load_digits(split)
    levels = {level / 16 for level in range(17)}
    assert len(digits.images) == len(digits.labels) == len(digits.numbers)
    assert {len(image) for image in digits.images} == {SIDE * SIDE}
    assert {pixel for image in digits.images for pixel in image} == levels


def test_every_digit_is_in_both_parts_in_balance():
    assert Counter(load_digits("test").labels) == dict.fromkeys(range(CLASSES), 36)
    train = Counter(load_digits("train").labels)
    assert sorted(train) == list(range(CLASSES))
    assert min(train.values()) == 138
    assert max(train.values()) == 147


def test_the_two_parts_share_no_image():
    train, test = load_digits("train"), load_digits("test")
    assert sorted(train.numbers + test.numbers) == list(range(1797))
    assert not set(map(tuple, train.images)) & set(map(tuple, test.images))


def test_the_split_follows_its_rule():
    seen: Counter[str] = Counter()
    table = [row.split(",")[-2:] for row in TABLE.splitlines()[1:]]
    count = Counter(label for label, _ in table)
    for label, split in table:
        chosen = {(2 * j + 1) * count[label] // 72 for j in range(36)}
        assert split == ("test" if seen[label] in chosen else "train")
        seen[label] += 1


def test_the_file_is_small_and_has_the_published_checksums():
    data = FILE.read_bytes()
    about = ABOUT.read_text(encoding="utf-8")
    assert len(data) < 150_000
    assert hashlib.sha256(data).hexdigest() in about
    assert hashlib.sha256(TABLE.encode()).hexdigest() in about
    assert data[4:8] == bytes(4), "the time stamp must be zero"


def test_the_values_are_scikit_learns():
    datasets = pytest.importorskip("sklearn.datasets")
    pixels, labels = datasets.load_digits(return_X_y=True)
    for split in ("train", "test"):
        digits = load_digits(split)
        assert digits.labels == labels[digits.numbers].tolist()
        assert digits.images == (pixels[digits.numbers] / 16).tolist()


def test_each_call_gives_lists_of_its_own():
    load_digits("test").images[0][0] = 7.0
    assert load_digits("test").images[0][0] == 0.0


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="found split='valid'; ask for 'train' or 'test'"):
        load_digits("valid")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "digits row 1: the header must be p00..p77,label,split; found ''"),
        (["a,b"], "digits row 1: the header must be .* found 'a,b'"),
        ([HEADER, FIRST, "1,2,3"], "digits row 3: expected 66 columns, found 3"),
        ([HEADER, FIRST.replace("0", "nan", 1)], "row 2, column p00: .* 0 to 16; found 'nan'"),
        ([HEADER, FIRST.replace("0", "17", 1)], "row 2, column p00: .* 0 to 16; found '17'"),
        ([HEADER, FIRST.replace(",0,train", ",10,train")], "row 2: a label .* found '10'"),
        ([HEADER, FIRST.replace("train", "valid")], "row 2: a split .* found 'valid'"),
    ],
)
def test_a_damaged_row_is_named(rows, message):
    with pytest.raises(ValueError, match=message):
        module._parse("\n".join(rows), "train")


@pytest.mark.parametrize("damage", [b"", b"text", FILE.read_bytes()[:1000]])
def test_a_damaged_file_is_refused(damage):
    with pytest.raises(ValueError, match=r"digits.csv.gz is damaged .*; install atled again"):
        module._unpack(damage, "digits.csv.gz")
