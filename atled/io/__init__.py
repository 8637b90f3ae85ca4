"""Saving and loading: safetensors files, and nests of Tensors in them.

No code is stored and none is run: there is no pickle here.
"""

from atled.io.files import write_atomically
from atled.io.state import load, load_file, load_metadata, save, save_file
