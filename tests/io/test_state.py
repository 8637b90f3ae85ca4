"""Saved Tensors and nests come back as they were, on every backend and for other programs."""

import math
import os

import pytest

import atled as at
from atled.backends.protocol import current
from atled.io import load, load_file, load_metadata, save, save_file, write_atomically

ALL_DTYPES = [
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16",
    "bfloat16", "float32", "float64",
]  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return tmp_path / "t.safetensors"


def same(a, b):
    return a.dtype is b.dtype and a.shape == b.shape and a.tolist() == b.tolist()


def test_every_dtype_and_shape_comes_back(backend, path):
    tensors = {"number": at.tensor(2.5), "empty": at.zeros(0, 3), "cube": at.rand(2, 3, 4)}
    for dtype in ALL_DTYPES:
        if dtype in {known.name for known in current().dtypes}:
            tensors[dtype] = at.tensor([[0, 1], [1, 1]]).astype(dtype)
    save_file(tensors, path, {"by": "me"})
    loaded = load_file(path)
    assert loaded.keys() == tensors.keys()
    assert all(same(loaded[name], t) for name, t in tensors.items())
    assert load_metadata(path) == {"by": "me"}


def test_a_parameter_is_saved_as_its_value(path):
    w = at.tensor([1.0, 2.0], requires_grad=True)
    save_file({"w": w, "y": w * 2}, path)
    loaded = load_file(path)
    assert not loaded["w"].requires_grad
    assert loaded["y"].tolist() == [2.0, 4.0]


@pytest.mark.parametrize("dtype", ALL_DTYPES)
def test_the_package_reads_what_we_write_and_we_what_it_writes(dtype, path):
    np = pytest.importorskip("numpy")
    if dtype == "bfloat16":
        pytest.skip("NumPy has no bfloat16; see the next test")
    package = pytest.importorskip("safetensors.numpy")
    arrays = {
        "a": np.arange(6).reshape(2, 3).astype(dtype),
        "ü": np.ones((), dtype),
        "none": np.zeros((2, 0), dtype),
    }
    with at.use("numpy"):
        save_file(arrays, path, {"k": "v"})
        theirs = package.load_file(path)
        package.save_file(arrays, path, {"k": "v"})
        ours = {name: t.numpy() for name, t in load_file(path).items()}
    for found in (theirs, ours):
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)
    assert load_metadata(path) == {"k": "v"}


def test_bfloat16_is_the_package_s(path):
    torch = pytest.importorskip("torch")
    package = pytest.importorskip("safetensors.torch")
    with at.use("torch"):
        t = at.tensor([1.0, -2.5, 3e38, 1e-40, math.inf]).astype("bfloat16")
        save_file({"t": t}, path)
        assert torch.equal(package.load_file(path)["t"], t.array)
        package.save_file({"t": t.array}, path)
        assert same(load_file(path)["t"], t)


def test_float32_is_converted_on_the_python_backend_only_if_asked(path):
    np = pytest.importorskip("numpy")
    save_file({"w": np.array([0.1, 2.0], np.float32)}, path)
    with at.use("python"):
        with pytest.raises(ValueError, match=r"'w': the python backend has no float32.* dtype="):
            load_file(path)
        assert load_file(path, dtype="float64")["w"].tolist() == [float(np.float32(0.1)), 2.0]


# -- nests -------------------------------------------------------------------------------------


def test_a_nest_comes_back(backend, path):
    state = {
        "model": {"0.weight": at.rand(2, 2), "a/b": at.tensor([True])},
        3: [1, (2.5, None, "text"), {}, [], ()],
        "large": 2**70,
        "odd": (True, math.inf, -0.0, 5e-324),
    }
    save(path, state, {"kind": "test"})
    loaded = load(path)
    assert list(loaded) == list(state)
    assert same(loaded["model"]["0.weight"], state["model"]["0.weight"])
    assert same(loaded["model"]["a/b"], state["model"]["a/b"])
    assert loaded[3] == state[3]
    assert type(loaded[3][1]) is tuple
    assert loaded["large"] == 2**70
    assert repr(loaded["odd"]) == repr(state["odd"])
    assert load_metadata(path)["kind"] == "test"


def test_nan_and_a_lone_tensor(path):
    save(path, float("nan"))
    assert math.isnan(load(path))
    save(path, at.ones(2))
    assert load(path).tolist() == [1.0, 1.0]


def test_keys_that_look_alike_do_not_collide(path):
    inner = {"b": at.tensor(2), "": {"b": at.tensor(5)}}
    state = {"a/b": at.tensor(1), "a": inner, "#1": at.tensor(3), 1: at.tensor(4)}
    save(path, {**state, "": at.tensor(6), "value": at.tensor(7), "a~1b": at.tensor(8)})
    loaded = load(path)
    assert [loaded["a/b"].item(), loaded["a"]["b"].item(), loaded["a"][""]["b"].item()] == [1, 2, 5]
    assert [loaded["#1"].item(), loaded[1].item(), loaded["a~1b"].item()] == [3, 4, 8]
    assert [loaded[""].item(), loaded["value"].item()] == [6, 7]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": [1, {2}]}, "found set at 'a/#1'; a state is made of"),
        (object(), "found object at the top"),
        ({"a": {1.5: 0}}, "the key 1.5 at 'a' is not a string or int"),
    ],
)
def test_what_cannot_be_saved_is_named(state, message, path):
    with pytest.raises(TypeError, match=message):
        save(path, state)
    assert not path.exists()


@pytest.mark.parametrize(
    "structure",
    ["", "{", '{"tensor":"x"}', '{"tensor":[]}', '{"code":1}', '{"float":"x"}', '{"dict":[1]}',
     '{"dict":[[[],1]]}', "{}", '{"tuple":3}', "[" * 100_000],
)  # fmt: skip
def test_a_broken_structure_is_refused_in_one_line(structure, path):
    save_file({}, path, {"atled.structure": structure})
    with pytest.raises(ValueError, match="the structure is broken") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_plain_file_is_no_nest(path):
    save_file({"a": at.ones(1)}, path)
    with pytest.raises(ValueError, match="was not written by atled's save; use load_file"):
        load(path)


# -- whole or not at all -------------------------------------------------------------------------


def test_a_failed_write_leaves_the_old_file(path, monkeypatch):
    write_atomically(path, b"old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == [path.name]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "no" / "file", b"")
