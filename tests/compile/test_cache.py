"""The cache on disk: whole entries or none, nobody else's directory, a size that holds."""

import os
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from atled.compile import cache

KEY = cache.key_of("a", "module")
DATA = bytes(range(256)) * 40


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is not there yet, and counts from zero."""
    for name in ("hits", "misses", "damaged", "stored"):
        monkeypatch.setattr(cache._State, name, 0)
    monkeypatch.setattr(cache._State, "failure", "")
    monkeypatch.setattr(cache._State, "unseen", cache.LIMIT)
    monkeypatch.delenv("ATLED_CACHE", raising=False)
    monkeypatch.setenv("ATLED_CACHE_DIR", str(tmp_path / "deep" / "atled"))
    return tmp_path / "deep" / "atled"


def _entry(folder: Path) -> Path:
    return folder / f"{KEY}.obj"


def test_what_is_stored_is_loaded(folder: Path) -> None:
    assert cache.load(KEY) is None
    cache.store(KEY, DATA)
    assert cache.load(KEY) == DATA
    cache.store(KEY, b"")
    assert cache.load(KEY) == b""
    found = cache.stats()
    assert (found.hits, found.misses, found.damaged, found.stored) == (2, 1, 0, 2)
    assert (found.directory, found.off) == (folder, "")


def test_keys_keep_the_borders_of_their_parts() -> None:
    keys = {cache.key_of(*parts) for parts in [("ab", "c"), ("a", "bc"), ("abc",), ("abc", "")]}
    assert len(keys) == 4
    assert all(len(key) == 64 and int(key, 16) >= 0 for key in keys)


def test_looking_makes_no_directory(folder: Path) -> None:
    cache.load(KEY)
    cache.clear()
    assert not folder.exists()


@pytest.mark.skipif(os.name != "posix", reason="modes of directories are POSIX's")
def test_the_directory_is_its_owners_only(folder: Path) -> None:
    cache.store(KEY, DATA)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(_entry(folder).stat().st_mode) == 0o600


@pytest.mark.parametrize("change", ["cut", "header", "bit", "longer", "empty", "foreign", "format"])
def test_an_entry_that_is_not_whole_is_deleted(folder: Path, change: str) -> None:
    cache.store(KEY, DATA)
    path = _entry(folder)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-7] ^= 4
    newer = whole[:8] + b"\x02" + whole[9:]
    path.write_bytes(
        {
            "cut": whole[:-1],
            "header": whole[:20],
            "bit": bytes(flipped),
            "longer": whole + b"!",
            "empty": b"",
            "foreign": b"\x7fELF" + whole,
            "format": newer,
        }[change]
    )
    assert cache.load(KEY) is None
    assert not path.exists()
    found = cache.stats()
    assert (found.hits, found.misses, found.damaged) == (0, 1, 1)
    cache.store(KEY, DATA)
    assert cache.load(KEY) == DATA


def test_the_environment_turns_it_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLED_CACHE", "off")
    cache.store(KEY, DATA)
    assert cache.load(KEY) is None
    assert not folder.exists()
    assert cache.stats().off == "ATLED_CACHE turns it off"


def test_where_entries_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert cache.directory().name == "atled"
    monkeypatch.setenv("ATLED_CACHE_DIR", "~/objects")
    assert cache.directory() == Path("/home/ada/objects")
    monkeypatch.delenv("ATLED_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache.directory() == Path("/x/atled")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache.directory() == Path("/home/ada/.cache/atled")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache.directory() == Path("/home/ada/Library/Caches/atled")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    assert cache.directory() == Path("/local/atled")


@pytest.mark.skipif(os.name != "posix", reason="modes of directories are POSIX's")
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o722])
def test_a_directory_that_others_write_to_is_refused(folder: Path, mode: int) -> None:
    cache.store(KEY, DATA)
    folder.chmod(mode)
    assert cache.load(KEY) is None
    assert "can be written to by other users, and objects are executed" in cache.stats().off
    folder.chmod(0o755)
    assert cache.load(KEY) == DATA


@pytest.mark.skipif(os.name != "posix", reason="owners of directories are POSIX's")
def test_the_directory_of_another_user_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.store(KEY, DATA)
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    assert cache.load(KEY) is None
    assert "belongs to another user, and objects are executed" in cache.stats().off


def test_a_directory_that_cannot_be_made_is_no_error(folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("a file")
    cache.store(KEY, DATA)
    assert cache.load(KEY) is None
    assert cache.stats().off == f"{folder} is not a directory"
    folder.unlink()
    folder.parent.rmdir()
    folder.parent.write_text("a file")
    cache.store(KEY, DATA)
    assert str(folder) in cache.stats().off


def test_a_directory_that_cannot_be_written_is_no_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.store(KEY, DATA)
    monkeypatch.setattr(os, "access", lambda *_: False)  # as root, every directory can be
    cache.store(KEY, b"other")
    assert cache.load(KEY) is None
    assert cache.stats().off == f"{folder} cannot be read and written"


def test_a_full_disk_is_no_error_and_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        cache.store(KEY, DATA)
    assert list(folder.iterdir()) == []
    assert cache.stats().off == f"{folder}: No space left on device"
    cache.store(KEY, DATA)
    assert cache.stats().off == ""


def test_clear_deletes_entries_only(folder: Path) -> None:
    cache.store(KEY, DATA)
    (folder / "left.part").write_text("of a process that died")
    (folder / "notes.txt").write_text("somebody's own")
    cache.clear()
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_least_recently_used_entries_go(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LIMIT", 10 * len(DATA))
    keys = [cache.key_of(str(index)) for index in range(9)]
    for age, key in enumerate(keys):
        cache.store(key, DATA)
        used = time.time() - 1000 + age
        os.utime(folder / f"{key}.obj", (used, used))
    assert cache.load(keys[0]) == DATA  # the oldest, but used just now
    for index in range(4):
        cache.store(cache.key_of("more", str(index)), DATA)
    held = {path.stem for path in folder.iterdir()}
    assert keys[0] in held
    assert keys[1] not in held
    assert cache.key_of("more", "3") in held
    assert sum(path.stat().st_size for path in folder.iterdir()) <= cache.LIMIT


def test_what_a_dead_process_left_goes_after_an_hour(folder: Path) -> None:
    cache.store(KEY, DATA)
    old, recent = folder / "old.part", folder / "recent.part"
    for path in (old, recent):
        path.write_bytes(b"half")
    before = time.time() - 7200
    os.utime(old, (before, before))
    cache._evict(folder)
    assert not old.exists()
    assert recent.exists()


@pytest.mark.slow
def test_readers_writers_and_evictors_at_once(folder: Path) -> None:
    """Four processes write, read, evict and clear the same few keys; none reads a wrong one."""
    body = """
        import random, sys
        from atled.compile import cache
        cache.LIMIT = 60_000
        chance = random.Random(int(sys.argv[1]))
        found = 0
        for turn in range(1500):
            index = chance.randrange(12)
            key, data = cache.key_of(str(index)), bytes([index]) * (5000 + index)
            if chance.random() < 0.5:
                cache.store(key, data)
            else:
                got = cache.load(key)
                assert got is None or got == data
                found += got is not None
            if turn % 500 == 0:
                cache.clear()
        stats = cache.stats()
        assert stats.damaged == 0, stats
        assert stats.off == "", stats
        print(found > 0)
    """
    root = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {"ATLED_CACHE_DIR": str(folder), "PYTHONPATH": root}
    command = [sys.executable, "-c", textwrap.dedent(body)]
    workers = [
        subprocess.Popen(
            command + [str(seed)],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for seed in range(4)
    ]
    for worker in workers:
        out, error = worker.communicate(timeout=120)
        assert error == ""
        assert out.split() == ["True"]
