"""Mini-batches in an order that a seed decides, and that can be left and taken up again.

What always holds: the order depends on the generator's state at the start of an epoch only, so
it is the same on every backend and machine; and a state taken inside the loop means that the
batch in hand was served.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from atled.core.surface import FUNCTIONS
from atled.core.tensor import Tensor
from atled.data.dataset import TensorDataset
from atled.ops.random import Generator, default_generator, randperm

__all__ = ["DataLoader"]


class DataLoader:
    """Serve a dataset in batches; each `for` loop over it is an epoch.

    Args:
        dataset: a `TensorDataset`, or anything with `len` and `dataset[i]` for a number i; the
            samples of the latter (Tensors, numbers, or tuples of them) are stacked.
        batch_size: samples in a batch; the last one may have fewer.
        shuffle: whether to draw a new order for each epoch.
        drop_last: leave out a last batch that is not full.
        generator: where orders are drawn from; by default the one of `manual_seed`.

    Attributes:
        epoch: epochs completed.
        position: batches of the current epoch that were served.

    Raises:
        ValueError: `batch_size` is not a positive integer.

    Example:
        >>> import atled as at
        >>> loader = DataLoader(TensorDataset(at.arange(5)), batch_size=2)
        >>> [x.tolist() for x, in loader]
        [[0, 1], [2, 3], [4]]
    """

    def __init__(self, dataset: Any, batch_size: int = 1, shuffle: bool = False,
                 drop_last: bool = False, generator: Generator | None = None) -> None:  # fmt: skip
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"DataLoader: batch_size is a positive integer; found {batch_size!r}")
        self.dataset, self.batch_size = dataset, batch_size
        self.shuffle, self.drop_last = shuffle, drop_last
        self.generator = default_generator if generator is None else generator
        self.epoch, self.position = 0, 0
        self._start = self.generator.get_state()  # the generator, when the epoch began
        self._resuming = False

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        order = self._take_up() if self._resuming else self._begin()
        for at in range(self.position, len(self)):
            self.position = at + 1
            yield self._batch(order, at * self.batch_size)
        self.epoch, self.position = self.epoch + 1, 0

    def _begin(self) -> Tensor | None:
        self.position, self._start = 0, self.generator.get_state()
        return self._order()

    def _take_up(self) -> Tensor | None:
        """Draw the order of a half-served epoch again, and leave the generator as it is."""
        self._resuming = False
        now = self.generator.get_state()
        self.generator.set_state(self._start)
        order = self._order()
        self.generator.set_state(now)
        return order

    def _order(self) -> Tensor | None:
        return randperm(len(self.dataset), generator=self.generator) if self.shuffle else None

    def _batch(self, order: Tensor | None, start: int) -> Any:
        stop = min(start + self.batch_size, len(self.dataset))
        if isinstance(self.dataset, TensorDataset):
            rows: Any = slice(start, stop)
            return self.dataset[rows if order is None else order[rows]]
        numbers = range(start, stop)
        chosen = numbers if order is None else order[start:stop].tolist()
        return _stacked([self.dataset[i] for i in chosen])

    def state_dict(self) -> dict[str, Any]:
        """Return everything that `load_state_dict` needs to go on with the next batch."""
        return {
            "epoch": self.epoch,
            "position": self.position,
            "start": dict(self._start),
            "generator": dict(self.generator.get_state()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was called; the dataset and the options must be the same.

        Raises:
            ValueError: not such a state, or it does not fit; nothing has changed then.
        """
        try:
            epoch, position = int(state["epoch"]), int(state["position"])
            start, now = dict(state["start"]), dict(state["generator"])
            Generator(0).set_state(start)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not the state of a DataLoader: {error!r}") from None
        if epoch < 0 or not 0 <= position <= len(self):
            raise ValueError(
                f"DataLoader: the state is at batch {position} of epoch {epoch}, and an epoch has "
                f"{len(self)} batches here"
            )
        self.generator.set_state(now)
        self.epoch, self.position, self._start = epoch, position, start
        self._resuming = position > 0


def _stacked(samples: list[Any]) -> Any:
    """Return samples as one batch: tuples part by part, numbers and Tensors stacked."""
    if isinstance(samples[0], (tuple, list)):
        return tuple([_stacked(list(parts)) for parts in zip(*samples, strict=True)])
    if isinstance(samples[0], Tensor):
        return FUNCTIONS["stack"](samples)
    return FUNCTIONS["tensor"](samples)
