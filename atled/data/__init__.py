"""Data: datasets and mini-batches, the digits that ship with atled, small PNG images."""

from atled.data.dataset import TensorDataset
from atled.data.digits import Digits, load_digits
from atled.data.loader import DataLoader
from atled.data.png import read_png, write_png
