"""Files that are there whole or not at all."""

import contextlib
import os
from os import PathLike

__all__ = ["write_atomically"]


def write_atomically(path: str | PathLike[str], data: bytes) -> None:
    """Write a file so that a crash at any moment leaves the old one or the new one.

    The bytes go to a new file in the same folder, reach the disk, and take the name at once.

    Raises:
        OSError: the file cannot be written; the old one is untouched.
    """
    path = os.fspath(path)
    temporary = f"{path}.{os.getpid()}.part"
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(os.path.dirname(path) or ".")


def _sync_folder(folder: str) -> None:
    """Put the new name on the disk too, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some file systems have no fsync for folders
            os.fsync(handle)
    finally:
        os.close(handle)
