"""Optimizers and learning-rate schedules, by PyTorch's names and formulas."""

from atled.optim import lr_scheduler
from atled.optim.adam import Adam, Adamax, AdamW, NAdam, RAdam
from atled.optim.adaptive import Adadelta, Adagrad, RMSprop
from atled.optim.lion import Lion
from atled.optim.minimization import minimize
from atled.optim.optimizer import Optimizer
from atled.optim.sgd import SGD
