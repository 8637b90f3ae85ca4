"""Compiled objects on disk, so that a second process need not compile what the first one did.

An entry is a file named by its key, a hash of all that the object depends on. What is read back is
executed, so nothing is trusted: an entry that is cut short, damaged or of another format is
deleted and counts as absent, and a directory that others could write to is not used at all.

Entries are written to a temporary file and moved into place, so that a reader, a writer and an
evictor at once see whole entries or none. A disk that cannot be used is no error: there is no
cache then, and `stats` says why.
"""

import hashlib
import os
import stat
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

__all__ = ["LIMIT", "Stats", "clear", "directory", "key_of", "load", "stats", "store"]

LIMIT = 512 << 20  # bytes; beyond it the entries that were used least recently go

_MAGIC = b"atledobj"
_FORMAT = 1
_HEADER = struct.Struct("<8sIQ32s")  # magic, format, length and sha256 of the payload
_SUFFIX, _PARTIAL = ".obj", ".part"
_STALE = 3600  # seconds after which a temporary file was left by a process that died


@dataclass(frozen=True)
class Stats:
    """What the cache did in this process.

    Attributes:
        directory: where entries lie.
        hits, misses: calls of `load` that found an entry, and that did not.
        damaged: entries that were deleted because they were not whole; each is a miss too.
        stored: entries written.
        off: why there is no cache, or why the last write failed; "" where all is well.
    """

    directory: Path
    hits: int = 0
    misses: int = 0
    damaged: int = 0
    stored: int = 0
    off: str = ""


class _Entry(NamedTuple):
    """A file of the cache, as the evictor sees it."""

    used: float
    size: int
    path: str


class _State:
    """What this process counted, and how much it wrote since it last looked for what to evict."""

    hits = misses = damaged = stored = 0
    failure = ""  # of the last write
    unseen = LIMIT  # bytes: the first write looks


def key_of(*parts: str) -> str:
    """Return a key for all that an object depends on: sha256, in hexadecimal.

    The parts keep their borders: ("ab", "c") and ("a", "bc") have two keys.
    """
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(struct.pack("<Q", len(data)))
        digest.update(data)
    return digest.hexdigest()


def directory() -> Path:
    """Return where entries lie: ``$ATLED_CACHE_DIR``, or the system's place for caches."""
    chosen = os.environ.get("ATLED_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "atled"
    home = Path(os.path.expanduser("~"))
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "atled"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "atled"
    return home / ".cache" / "atled"


def load(key: str) -> bytes | None:
    """Return the object with a key, or None where there is none that can be trusted."""
    folder = directory()
    data = None if _refusal(folder) else _read(folder / (key + _SUFFIX))
    if data is None:
        _State.misses += 1
    else:
        _State.hits += 1
    return data


def store(key: str, data: bytes) -> None:
    """Keep an object. A disk that is full or not writable is passed over in silence."""
    folder = directory()
    if _refusal(folder, make=True):
        return
    digest = hashlib.sha256(data).digest()
    header = _HEADER.pack(_MAGIC, _FORMAT, len(data), digest)
    try:
        _write(folder, folder / (key + _SUFFIX), header + data)
    except OSError as error:
        _State.failure = f"{folder}: {error.strerror or error}"
        return
    _State.failure = ""
    _State.stored += 1
    _State.unseen += len(header) + len(data)
    if _State.unseen >= LIMIT // 16:  # a look costs a stat of every entry
        _State.unseen = 0
        _evict(folder)


def clear() -> None:
    """Delete every entry."""
    folder = directory()
    if not _refusal(folder):
        for entry in _entries(folder, (_SUFFIX, _PARTIAL)):
            _delete(entry.path)


def stats() -> Stats:
    """Return what the cache did in this process, and why it is off where it is."""
    folder = directory()
    counts = Stats(folder, _State.hits, _State.misses, _State.damaged, _State.stored)
    return replace(counts, off=_refusal(folder, make=True) or _State.failure)


def _refusal(folder: Path, make: bool = False) -> str:
    """Return why a directory is not used, or "" where it is.

    Args:
        make: make it, for its owner only, where it is not there.
    """
    if os.environ.get("ATLED_CACHE", "").strip().lower() in ("off", "0", "no", "false"):
        return "ATLED_CACHE turns it off"
    try:
        if make and not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.stat()
    except FileNotFoundError:
        return f"{folder} is not there"
    except OSError as error:
        return f"{folder}: {error.strerror or error}"
    if not stat.S_ISDIR(found.st_mode):
        return f"{folder} is not a directory"
    if os.name == "posix" and found.st_uid != os.geteuid():
        return f"{folder} belongs to another user, and objects are executed"
    if os.name == "posix" and found.st_mode & 0o022:
        return f"{folder} can be written to by other users, and objects are executed"
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return f"{folder} cannot be read and written"
    return ""


def _read(path: Path) -> bytes | None:
    """Return an entry's payload; delete an entry that is not whole."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return None
    payload = _payload(data)
    if payload is None:
        _State.damaged += 1
        _delete(path)
        return None
    with suppress(OSError):  # evicted between the two: what was read is whole all the same
        os.utime(path)  # used just now: not the next to be evicted
    return payload


def _payload(data: bytes) -> bytes | None:
    """Return what stands after a header that fits it, or None."""
    if len(data) < _HEADER.size:
        return None
    magic, version, length, digest = _HEADER.unpack_from(data)
    payload = data[_HEADER.size :]
    if (magic, version, length) != (_MAGIC, _FORMAT, len(payload)):
        return None
    return payload if hashlib.sha256(payload).digest() == digest else None


def _write(folder: Path, path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all."""
    handle, temporary = tempfile.mkstemp(suffix=_PARTIAL, dir=folder)
    try:
        with open(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        _delete(temporary)
        raise


def _evict(folder: Path) -> None:
    """Delete the entries that were used least recently, down to nine tenths of the limit."""
    now = time.time()
    for entry in _entries(folder, (_PARTIAL,)):
        if now - entry.used > _STALE:
            _delete(entry.path)
    entries = sorted(_entries(folder, (_SUFFIX,)))
    total = sum(entry.size for entry in entries)
    if total <= LIMIT:
        return
    for entry in entries:
        _delete(entry.path)
        total -= entry.size
        if total <= LIMIT * 9 // 10:
            return


def _entries(folder: Path, suffixes: tuple[str, ...]) -> Iterator[_Entry]:
    """Yield the cache's own files; others that lie there are let be."""
    try:
        files = list(os.scandir(folder))
    except OSError:
        return
    for file in files:
        if file.name.endswith(suffixes):
            try:
                found = file.stat(follow_symlinks=False)
            except OSError:
                continue  # another process deleted it
            yield _Entry(found.st_mtime, found.st_size, file.path)


def _delete(path: str | Path) -> None:
    """Delete a file, if it is still there and may be deleted."""
    with suppress(OSError):
        os.unlink(path)
