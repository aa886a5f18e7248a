"""Progress: who listens hears it, who stops the work leaves nothing behind."""

import os
import signal
import threading
import time
from dataclasses import replace

import dask
import dask.array as da
import numpy as np
import pytest

from core import reference
from napari_exposure import core
from napari_exposure.core import blocks, progress


def job(log=None):
    try:
        for i in range(1, 5):
            progress.report(f"part {i}", i / 4)
    finally:
        if log is not None:
            log.append("closed")
    return "result"


class Bar:
    """What tqdm is to drain."""

    def __init__(self, total, leave):
        self.total = total
        self.at = 0
        self.texts = []
        Bar.last = self

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.closed = True

    def set_description(self, text):
        self.texts.append(text)

    def update(self, more):
        assert more >= 0
        self.at += more


def test_nobody_needs_to_listen():
    with progress.part(0, 0.5), progress.changed(lambda step: step):
        assert job() == "result"


def test_a_bar_shows_how_far_it_is():
    with progress.bar(Bar, delay=0):
        assert job() == "result"
    assert Bar.last.at == Bar.last.total
    assert Bar.last.texts == ["part 1", "part 2", "part 3", "part 4"]
    assert Bar.last.closed


def test_quick_work_shows_no_bar():
    Bar.last = None
    with progress.bar(Bar):
        assert job() == "result"
    assert Bar.last is None


def test_slow_work_shows_its_bar_at_once():
    Bar.last = None
    with progress.bar(Bar):
        progress.report("compiling", 0.0, slow=True)
        assert Bar.last.texts == ["compiling"]


def test_who_listens_already_hears_it_instead_of_a_bar():
    Bar.last = None

    def work():
        with progress.bar(Bar, delay=0):
            return job()

    steps, result = reference.heard(work)
    assert ([step.fraction for step in steps], result, Bar.last) == ([0.25, 0.5, 0.75, 1.0], "result", None)


def test_an_interrupt_while_the_bar_is_drawn_ends_the_work():
    class Interrupting(Bar):
        def update(self, more):
            raise KeyboardInterrupt

    log = []
    with pytest.raises(KeyboardInterrupt), progress.bar(Interrupting, delay=0):
        job(log)
    assert log == ["closed"]
    assert Bar.last.closed


def test_parts_make_one_whole():
    def longer():
        with progress.part(0, 0.5):
            first = job()
        with progress.part(0.5, 1):
            return first, job()

    steps, result = reference.heard(longer)
    assert result == ("result", "result")
    np.testing.assert_allclose([step.fraction for step in steps], np.arange(1, 9) / 8)


def test_items_are_worked_on_in_order_as_equal_parts():
    steps, result = reference.heard(lambda: progress.each("abc", lambda letter: letter + job()))
    assert result == ["aresult", "bresult", "cresult"]
    np.testing.assert_allclose([step.fraction for step in steps], np.arange(1, 13) / 12)
    assert progress.each([], job) == []


def test_every_window_of_time_points_is_an_equal_part():
    volume = np.random.default_rng(0).integers(0, 4000, (5, 4, 32, 32)).astype(np.uint16)
    adjustment = core.AdaptiveEqualization(9.0, per="volume", window=3)
    steps, _ = reference.heard(lambda: adjustment.fit(volume))
    # The ranges are 0.4 of the work. While a kernel is compiled, that is said once more.
    counted = [step.fraction for step in steps if step.what == "counting tiles"]
    np.testing.assert_allclose(counted[-4:], 0.4 + 0.12 * np.arange(1, 5))


def test_items_fill_a_part_equally():
    found = []
    with progress.listening(lambda step: found.append(step.fraction)), progress.part(0.4, 1):
        for number in range(3):
            with progress.item(number, 3):
                progress.report("work", 0.5)
                progress.report("work", 1.0)
    np.testing.assert_allclose(found, [0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert found[-1] == 1


def test_a_part_never_runs_back():
    found = []
    with progress.listening(lambda step: found.append(step.fraction)), progress.part(0.5, 1):
        for fraction in (0.2, 0.6, 0.4, 0.0, 0.8):
            progress.report("", fraction)
    np.testing.assert_allclose(found, [0.6, 0.8, 0.8, 0.8, 0.9])


def test_a_part_changes_the_fraction_only():
    found = []
    with progress.listening(found.append), progress.part(0.5, 1):
        progress.report("loading", 0.5, slow=True, found="so far")
    assert found == [progress.Step("loading", 0.75, slow=True, partial="so far")]


def test_reports_are_changed_from_the_inside_out():
    found = []
    with (
        progress.listening(found.append),
        progress.changed(lambda step: replace(step, what=step.what.upper())),
        progress.changed(lambda step: replace(step, what=f"{step.what}, changed")),
    ):
        progress.report("part", 1.0)
    assert [step.what for step in found] == ["PART, CHANGED"]


def test_a_cancel_ends_the_work_at_its_next_report():
    log = []
    assert reference.stopped(lambda: job(log), 2)
    assert log == ["closed"]
    # and whoever listened before listens again
    assert reference.heard(job)[1] == "result"


def test_listeners_of_two_threads_do_not_hear_each_other():
    heard = {}

    def work(name):
        mine = heard[name] = []
        with progress.listening(lambda step: mine.append(step.what)):
            for number in range(50):
                progress.report(f"{name} {number}", number / 50)
                time.sleep(0.0001)

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == {name: [f"{name} {number}" for number in range(50)] for name in "ab"}


def test_an_interrupt_comes_between_two_reports():
    said = []

    def work():
        try:
            progress.report("first", 0.5)
            os.kill(os.getpid(), signal.SIGINT)
            # The main thread has time to notice; it must wait all the same.
            time.sleep(0.1)
            said.append("whole")
            progress.report("second", 1)
            said.append("not asked for")
        finally:
            said.append("closed")

    with pytest.raises(KeyboardInterrupt):
        progress.undisturbed(work)
    assert said == ["whole", "closed"]


def test_undisturbed_work_is_heard_and_stopped_as_other_work():
    def work():
        progress.report("first", 0.5)
        progress.report("second", 1)
        return "result"

    steps, result = reference.heard(lambda: progress.undisturbed(work))
    assert result == "result"
    assert [step.what for step in steps] == ["first", "second"]
    assert progress.undisturbed(work) == "result"
    reached = []

    def counted():
        for number in range(1, 100):
            progress.report("", number / 100)
            reached.append(number)

    assert reference.stopped(lambda: progress.undisturbed(counted), 3)
    assert reached == [1, 2]

    def failing():
        progress.report("first", 0.5)
        raise ValueError("torn")

    with pytest.raises(ValueError, match="torn"):
        progress.undisturbed(failing)


@pytest.mark.parametrize("kind", ["array", "dask"])
def test_work_that_waits_for_a_slow_source_is_stopped(kind, monkeypatch):
    """All chunks of the dask array are read by one task, which reports when it is done; an array has blocks."""
    monkeypatch.setattr(blocks, "thread_count", lambda: 2)
    released, begun, reads = threading.Event(), threading.Event(), []

    def read(values, wait=True):
        reads.append(1)
        begun.set()
        if wait and len(reads) > 1:
            released.wait(60)
        return values

    def stop():
        if begun.is_set():
            released.set()
            raise progress.Cancelled

    if kind == "dask":
        nothing = np.empty((0, 0, 0), np.uint8)
        volume = da.zeros((64, 8, 8), np.uint8, chunks=(1, 8, 8)).map_blocks(read, dtype=np.uint8, meta=nothing)
    else:
        volume = Slow(read)
    listening = progress.listening(lambda step: None, stop)
    with dask.config.set(num_workers=2), listening, pytest.raises(progress.Cancelled):
        core.histogram(volume)
    assert len(reads) < (64 if kind == "dask" else 8)


class Slow:
    """An array whose parts come slowly."""

    shape, dtype, chunks = (64, 512, 512), np.dtype(np.uint8), (1, 512, 512)

    def __init__(self, read):
        self._read = read

    def __getitem__(self, index):
        return self._read(np.zeros([part.stop - part.start for part in index], np.uint8))
