"""One clear line for what a user got wrong."""

from collections.abc import Iterator
from contextlib import contextmanager

from atled.errors import AtledError

__all__ = ["Refusal", "refused"]


class Refusal(Exception):
    """Input or options that cannot be used; its text is one line for the user."""


@contextmanager
def refused() -> Iterator[None]:
    """Turn the errors of reading a user's input into a Refusal of one line."""
    try:
        yield
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise Refusal(f"{where}{error.strerror or error}") from error
    except AtledError as error:
        raise Refusal(" ".join(error.message.split())) from error
    except ValueError as error:
        raise Refusal(" ".join(str(error).split())) from error
