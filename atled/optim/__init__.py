"""Optimizers and learning-rate schedules, by PyTorch's names and formulas."""

from atled.optim import lr_scheduler
from atled.optim.adam import Adam
from atled.optim.adam import Adamax
from atled.optim.adam import AdamW
from atled.optim.adam import NAdam
from atled.optim.adam import RAdam
from atled.optim.adaptive import Adadelta
from atled.optim.adaptive import Adagrad
from atled.optim.adaptive import RMSprop
from atled.optim.lion import Lion
from atled.optim.optimizer import Optimizer
from atled.optim.sgd import SGD
