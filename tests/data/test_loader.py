"""Datasets and mini-batches: complete, in an order that a seed decides, and resumable."""

import pytest

import atled as at
from atled.data import DataLoader, TensorDataset

ORDER_OF_SEED_5 = [[8, 2, 5], [0, 1, 6], [3, 4, 9], [7]]


def loader(n=10, batch_size=3, seed=5, **options):
    x = at.arange(n)
    data = TensorDataset(x, x * 10)
    return DataLoader(data, batch_size, shuffle=True, generator=at.Generator(seed), **options)


def batches(loader):
    return [[part.tolist() for part in batch] for batch in loader]


def test_every_sample_comes_once_with_its_partner():
    found = batches(loader())
    assert [len(x) for x, _ in found] == [3, 3, 3, 1]
    assert sorted(v for x, _ in found for v in x) == list(range(10))
    assert all([10 * v for v in x] == y for x, y in found)


def test_drop_last_and_len():
    assert [len(x) for x, _ in batches(loader(drop_last=True))] == [3, 3, 3]
    assert len(loader(drop_last=True)) == 3
    assert len(loader()) == 4
    assert len(loader(n=9)) == 3
    assert batches(loader(n=2, drop_last=True)) == []


def test_without_shuffle_the_order_is_kept():
    data = TensorDataset(at.arange(5))
    assert batches(DataLoader(data, 2)) == [[[0, 1]], [[2, 3]], [[4]]]


def test_epochs_differ_and_seeds_repeat():
    one = loader()
    first, second = batches(one), batches(one)
    assert first != second
    again = loader()
    assert [batches(again), batches(again)] == [first, second]
    assert batches(loader(seed=6)) != first
    assert one.epoch == 2


def test_the_order_is_the_same_on_every_backend(backend):
    assert [x for x, _ in batches(loader())] == ORDER_OF_SEED_5


def test_the_default_generator_is_that_of_manual_seed():
    at.manual_seed(3)
    data = TensorDataset(at.arange(20))
    first = batches(DataLoader(data, 20, shuffle=True))
    at.manual_seed(3)
    assert batches(DataLoader(data, 20, shuffle=True)) == first


@pytest.mark.parametrize("served", range(5))
def test_it_goes_on_from_any_batch(served):
    one = loader()
    batches(one)  # an epoch behind it
    state, rest, noise = None, [], []
    for at_batch, (x, _) in enumerate(one, start=1):
        drawn = at.rand(2, generator=one.generator).tolist()  # others draw from it too
        if at_batch > served:
            rest.append(x.tolist())
            noise.append(drawn)
        if at_batch == served:
            state = one.state_dict()
    following = batches(one)
    if state is None:  # before the epoch
        one = loader()
        batches(one)
        state = one.state_dict()
    other = loader(seed=99)
    other.load_state_dict(state)
    assert other.epoch == 1
    found = [(x.tolist(), at.rand(2, generator=other.generator).tolist()) for x, _ in other]
    assert found == list(zip(rest, noise, strict=True))
    assert other.epoch == 2
    assert batches(other) == following


def test_leaving_a_loop_early_begins_a_new_epoch():
    one = loader()
    next(iter(one))
    assert len(batches(one)) == 4
    assert one.epoch == 1


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "not the state of a DataLoader: KeyError"),
        ({"epoch": "x"}, "not the state of a DataLoader"),
        ({"epoch": 0, "position": 9}, "is at batch 9 of epoch 0, and an epoch has 4 batches"),
        ({"epoch": -1, "position": 0}, "of epoch -1"),
        ({"epoch": 0, "position": 0, "start": {}}, "not the state of a DataLoader"),
    ],
)
def test_another_state_is_refused(state, message):
    one = loader()
    before = one.state_dict()
    with pytest.raises(ValueError, match=message):
        one.load_state_dict(before | state if state else {})
    assert one.state_dict() == before


def test_a_dataset_of_items_is_stacked():
    items = [(at.tensor([float(i), 1.0]), i) for i in range(5)]
    x, y = next(iter(DataLoader(items, batch_size=4)))
    assert x.shape == (4, 2)
    assert y.tolist() == [0, 1, 2, 3]
    shuffled = DataLoader(items, 5, shuffle=True, generator=at.Generator(1))
    ((_, y),) = list(shuffled)
    assert sorted(y.tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("batch_size", [0, -1, 2.0, True, None])
def test_a_batch_size_is_a_positive_integer(batch_size):
    with pytest.raises(ValueError, match="batch_size is a positive integer; found"):
        DataLoader([1], batch_size)


def test_tensors_of_one_length():
    with pytest.raises(at.ShapeError, match="Tensor 0 has 3 rows, Tensor 1 has 2"):
        TensorDataset(at.ones(3), at.ones(2))
    with pytest.raises(at.ShapeError, match="Tensor 0 has no axis"):
        TensorDataset(at.tensor(1.0))
    with pytest.raises(at.ShapeError, match="at least one Tensor"):
        TensorDataset()
    with pytest.raises(TypeError, match="argument 1 is a list"):
        TensorDataset(at.ones(3), [1, 2, 3])
