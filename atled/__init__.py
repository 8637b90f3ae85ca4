from atled.core import autograd
from atled.core.surface import FUNCTIONS
