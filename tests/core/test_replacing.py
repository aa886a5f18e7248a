"""What is written is whole or not there: at every moment at which a process can die, and beside others that live."""

import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from napari_exposure.core import replacing as module
from napari_exposure.core.replacing import MACHINE, PREFIX, check_place, keep_apart, replacing, tidy


def write(path, text="new", meanwhile=None, **options):
    """A file, or a folder that passes for a zarr store; or, instead of the end of it, an error."""
    with replacing(path, **options) as unfinished:
        fill(unfinished, text if isinstance(text, str) else "half")
        if meanwhile is not None:
            meanwhile()
        if not isinstance(text, str):
            raise text


def fill(path, text):
    if path.suffix == ".zarr":
        (path / "0" / "c").mkdir(parents=True)
        for name in ("zarr.json", "0/zarr.json", "0/c/0"):
            (path / name).write_text(text)
    else:
        path.write_text(text)


def text_of(path):
    """What was written, or an error where parts of it are of another writing."""
    if path.is_dir():
        names = sorted(each.relative_to(path).as_posix() for each in path.rglob("*") if each.is_file())
        assert names == ["0/c/0", "0/zarr.json", "zarr.json"]
        (found,) = {(path / name).read_text() for name in names}
        return found
    return path.read_text()


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


every_name = pytest.mark.parametrize("name", ["a.json", "a.zarr"])


@every_name
@pytest.mark.parametrize("there", [False, True], ids=["new", "overwrite"])
def test_all_of_it_or_what_it_was(name, there, tmp_path):
    path = tmp_path / name
    if there:
        write(path, "old")
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error):
            write(path, error)
        assert sorted(os.listdir(tmp_path)) == ([name] if there else [])
    write(path)
    assert text_of(path) == "new"
    assert os.listdir(tmp_path) == [name]


@every_name
@pytest.mark.parametrize("error", [PermissionError(13, "denied"), KeyboardInterrupt()], ids=["refused", "interrupted"])
def test_an_error_at_any_rename(name, error, tmp_path, monkeypatch):
    path, replace = tmp_path / name, os.replace
    for before in (True, False):
        for number in range(6):
            write(path, "old")
            done = []

            def failing(old, new, done=done, before=before, number=number):
                fails = len(done) == number
                if len(done) <= number:
                    done.append(new)
                if fails and before:
                    raise error
                replace(old, new)
                if fails:
                    raise error

            with monkeypatch.context() as patch:
                patch.setattr(os, "replace", failing)
                try:
                    write(path)
                    raised = False
                except (PermissionError, KeyboardInterrupt):
                    raised = True
            assert text_of(path) in (("old", "new") if raised else ("new",))
            if raised and before and Path(done[-1]) == path:
                # It could not take its place.
                assert text_of(path) == "old"
            tidy(tmp_path)
            assert os.listdir(tmp_path) == [name]


# Each child of this dies at another thing that it does to the file system.
KILLED = """
import os, signal, sys
from pathlib import Path
from napari_exposure.core.replacing import replacing, tidy
sys.path.insert(0, sys.argv[1])
from test_replacing import fill, hidden, text_of, write

def die_at(number):
    seen = 0
    def hook(event, arguments):
        nonlocal seen
        if event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "open"):
            seen += 1
            if seen > number:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)

path, there = Path(sys.argv[2]), sys.argv[3] == "overwrite"
found, number = [], 0
while True:
    if there:
        write(path, "old")
    child = os.fork()
    if not child:
        die_at(number)
        write(path)
        os._exit(0)
    died = os.waitpid(child, 0)[1]
    # whoever is next in this folder
    write(path.with_name("other.json"))
    assert not hidden(path.parent), (number, hidden(path.parent))
    found.append(text_of(path) if os.path.lexists(path) else "none")
    if not died:
        break
    if not there and found[-1] != "none":
        __import__("shutil").rmtree(path) if path.is_dir() else path.unlink()
    number += 1
print(*found)
"""


@every_name
@pytest.mark.parametrize("there", ["new", "overwrite"])
def test_a_kill_at_any_moment(name, there, tmp_path):
    call = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tmp_path / name), there]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = done.stdout.split()
    first = "old" if there == "overwrite" else "none"
    assert set(found) == {first, "new"}
    # Once it is new it stays new, however late the process dies.
    assert found == sorted(found, key=["old", "none", "new"].index)
    assert len(found) > 10


@every_name
def test_it_is_on_the_disk_before_it_takes_its_place(name, tmp_path, monkeypatch):
    path, synced, replaced = tmp_path / name, [], []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(file):
        synced.append(os.fstat(file).st_ino)
        fsync(file)

    def noted_replace(old, new):
        if Path(new) == path:
            replaced.append(len(synced))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    for text in ("old", "new"):
        del synced[:], replaced[:]
        write(path, text)
        (at,) = replaced
        parts = [path, *path.rglob("*")] if path.is_dir() else [path]
        assert {part.stat().st_ino for part in parts} <= set(synced[:at])
        assert synced[at:] == [tmp_path.stat().st_ino]


def test_the_mode_stays(tmp_path):
    old = os.umask(0o027)
    try:
        for name, usual in (("a.json", 0o640), ("a.zarr", 0o750)):
            path = tmp_path / name
            write(path)
            assert stat.S_IMODE(path.stat().st_mode) == usual
            for mode in (0o600, 0o664, 0o755, 0o444):
                mode |= 0o300 if path.is_dir() else 0
                path.chmod(mode)
                write(path, "again")
                assert stat.S_IMODE(path.stat().st_mode) == mode
                assert text_of(path) == "again"
    finally:
        os.umask(old)


def test_a_folder_that_is_no_store_is_kept(tmp_path):
    path = tmp_path / "data.zarr"
    path.mkdir()
    (path / "thesis.odt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"data\.zarr is a folder, but no zarr store"):
        write(path)
    (path / "thesis.odt").unlink()
    # An empty one has nothing to lose.
    write(path)
    assert text_of(path) == "new"
    # A file replaces no folder, not even a store.
    with pytest.raises(FileExistsError, match=r"data\.zarr is a folder, and is not replaced"):
        check_place(path)
    with pytest.raises(FileExistsError), replacing(path) as unfinished:
        unfinished.write_text("table")
    assert text_of(path) == "new"
    assert os.listdir(tmp_path) == ["data.zarr"]


def test_a_folder_that_came_meanwhile_is_kept(tmp_path):
    path = tmp_path / "data.zarr"

    def meanwhile():
        path.mkdir()
        (path / "thesis.odt").write_text("mine")

    with pytest.raises(FileExistsError):
        write(path, meanwhile=meanwhile)
    assert (path / "thesis.odt").read_text() == "mine"
    # Nothing would replace it, so the error does not offer that.
    with pytest.raises(FileExistsError, match=r"is a folder, but no zarr store, and is not replaced"):
        write(path, overwrite=False)


def test_a_link_is_replaced_and_not_what_it_points_to(tmp_path):
    for name in ("a.json", "a.zarr"):
        real = tmp_path / f"real-{name}"
        write(real, "old")
        (tmp_path / name).symlink_to(real)
        write(tmp_path / name)
        assert (text_of(tmp_path / name), text_of(real)) == ("new", "old")
        # also where it points to nothing
        (tmp_path / f"b{name}").symlink_to(tmp_path / "nowhere")
        with pytest.raises(FileExistsError):
            write(tmp_path / f"b{name}", overwrite=False)
        write(tmp_path / f"b{name}")
        assert text_of(tmp_path / f"b{name}") == "new"


def test_devices_and_pipes_are_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", str(tmp_path / "pipe")], stdout=subprocess.PIPE, text=True)
    write(tmp_path / "pipe", "through")
    assert reader.communicate()[0] == "through"
    assert os.listdir(tmp_path) == ["pipe"]
    code = "from napari_exposure.core.replacing import replacing\nwith replacing('/dev/stdout') as f: f.write_text('x')"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout == b"x"
    # A shell makes it a file.
    with open(tmp_path / "out", "w") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
    assert (tmp_path / "out").read_text() == "x"
    assert Path("/dev/stdout").is_symlink()


def test_long_names(tmp_path):
    path = tmp_path / ("n" * 250 + ".json")
    write(path)
    write(path, "again")
    assert text_of(path) == "again"


def test_a_folder_that_is_missing(tmp_path):
    for error in (lambda: write(tmp_path / "no" / "a.json"), lambda: check_place(tmp_path / "no" / "a.json")):
        with pytest.raises(FileNotFoundError, match="no"):
            error()


# --- others -----------------------------------------------------------------------------

HOLDS = """
import sys
from pathlib import Path
from napari_exposure.core.replacing import replacing
with replacing(Path(sys.argv[1])) as unfinished:
    unfinished.write_text("theirs")
    print("ready", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def other(tmp_path):
    """A process that is writing a.json."""
    call = [sys.executable, "-c", HOLDS, str(tmp_path / "a.json")]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout.readline() == "ready\n"
        yield job
        if job.poll() is None:
            job.kill()


def test_what_a_living_process_writes_is_left_alone(other, tmp_path):
    for _ in range(3):
        write(tmp_path / "a.json", "ours")
        write(tmp_path / "b.json", "ours")
        tidy(tmp_path)
    assert len(hidden(tmp_path)) == 1
    other.communicate("go on\n")
    assert other.returncode == 0
    assert (text_of(tmp_path / "a.json"), text_of(tmp_path / "b.json")) == ("theirs", "ours")
    assert not hidden(tmp_path)


def test_what_a_dead_process_left_goes(other, tmp_path):
    other.kill()
    other.wait()
    assert hidden(tmp_path)
    write(tmp_path / "b.json")
    assert os.listdir(tmp_path) == ["b.json"]


def test_threads_leave_each_other_alone(tmp_path, monkeypatch):
    # Also where the file system gives a process a lock that it has.
    monkeypatch.setattr(module, "_locked", lambda lock: True)
    with replacing(tmp_path / "a.json") as unfinished:
        write(tmp_path / "b.json")
        unfinished.write_text("new")
    assert sorted(os.listdir(tmp_path)) == ["a.json", "b.json"]


def test_no_locks(tmp_path, monkeypatch):
    def locked(lock):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(module, "_locked", locked)
    shutil.copytree(left_by(tmp_path / "from", MACHINE), tmp_path / f"{PREFIX}{MACHINE}-00000000")
    write(tmp_path / "a.json")
    assert text_of(tmp_path / "a.json") == "new"
    # Whether its process lives nobody knows.
    assert hidden(tmp_path) == [f"{PREFIX}{MACHINE}-00000000"]


def left_by(folder, machine):
    """What a process of a machine has left that died."""
    place = folder / f"{PREFIX}{machine}-12345678"
    (place / "new").mkdir(parents=True)
    (place / "new" / "a.json").write_text("half")
    (place / "lock").touch()
    return place


def test_another_machine_may_have_locks_of_its_own(tmp_path):
    place = left_by(tmp_path, "ffffffff" if MACHINE != "ffffffff" else "00000000")
    tidy(tmp_path)
    assert place.is_dir()
    long_ago = time.time() - module.FOREIGN - 60
    os.utime(place / "lock", (long_ago, long_ago))
    tidy(tmp_path)
    assert not hidden(tmp_path)


def test_what_is_not_ours_is_kept(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "lock").write_text("mine")
    mine = tmp_path / f"{PREFIX}notes"
    mine.mkdir()
    (mine / "text").write_text("mine")
    (tmp_path / f"{PREFIX}file").write_text("mine")
    (tmp_path / f"{PREFIX}{MACHINE}-empty").mkdir()
    (tmp_path / f"{PREFIX}{MACHINE}-link").symlink_to(tmp_path / "mine")
    tidy(tmp_path)
    assert (mine / "text").read_text() == (tmp_path / "mine" / "lock").read_text() == "mine"
    assert (tmp_path / f"{PREFIX}file").read_text() == "mine"
    # A process that died before it could lock it has left this.
    assert not (tmp_path / f"{PREFIX}{MACHINE}-empty").exists()


def test_two_put_a_folder_in_one_place(tmp_path, monkeypatch):
    path, replace, others = tmp_path / "a.zarr", os.replace, iter(["first", "second"])

    def replaced(old, new):
        text = next(others, None) if Path(new) == path else None
        if text is not None:
            # Another process was a moment earlier.
            fill(path, text)
        replace(old, new)

    write(path, "old")
    monkeypatch.setattr(os, "replace", replaced)
    write(path, "ours")
    assert text_of(path) == "ours"
    assert os.listdir(tmp_path) == ["a.zarr"]


# --- inputs -----------------------------------------------------------------------------


def test_inputs_are_not_outputs(tmp_path):
    source, store = tmp_path / "a.tif", tmp_path / "a.zarr"
    source.write_text("data")
    fill(store, "data")
    places = [source, tmp_path / "x" / ".." / "a.tif", store, store / "zarr.json", store / "new.csv"]
    (tmp_path / "soft.csv").symlink_to(source)
    os.link(source, tmp_path / "hard.csv")
    (tmp_path / "folder").symlink_to(tmp_path)
    (tmp_path / "stored").symlink_to(store)
    names = ("soft.csv", "hard.csv", "folder/a.tif", "folder/a.zarr/table.csv", "stored", "stored/0/table.csv")
    places += [tmp_path / name for name in names]
    for place in places:
        with pytest.raises(ValueError, match=r"is read, and .* would replace it"):
            keep_apart([source, store], [tmp_path / "other.csv", place])
    # an input within an output
    with pytest.raises(ValueError, match=r"0 is read, and .*a\.zarr would replace it"):
        keep_apart([store / "0"], [store])
    with pytest.raises(ValueError, match="are one place"):
        keep_apart([source], [tmp_path / "b.csv", tmp_path / "x" / ".." / "b.csv"])
    keep_apart([source, store], [tmp_path / "a.csv", tmp_path / "b.tif", tmp_path / "a.tif.zarr"])
