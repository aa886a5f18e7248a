import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import reference
from napari_exposure.core import AdaptiveEqualization, Gamma, blocks
from napari_exposure.core.adjustment import adjust_steps
from napari_exposure.core.blocks import Step, Volume, contiguous_blocks, drain, share, walk

shapes = st.lists(st.integers(1, 9), min_size=1, max_size=5).map(tuple)


def workers():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("napari-exposure")]


@pytest.fixture
def two_threads(monkeypatch):
    # the queue is as long as there are processors, and what a closed job did depends on it
    monkeypatch.setattr(blocks, "thread_count", lambda: 2)


# --- cutting ----------------------------------------------------------------------------


@given(shapes, st.integers(1, 400))
def test_blocks_cover_the_shape_once(shape, voxels):
    array = np.zeros(shape, np.uint8)
    for block in contiguous_blocks(shape, voxels):
        array[block] += 1
    assert (array == 1).all()


@given(shapes, st.integers(1, 400))
def test_blocks_are_contiguous_small_and_in_order(shape, voxels):
    array = np.arange(np.prod(shape)).reshape(shape)
    position = 0
    for block in contiguous_blocks(shape, voxels):
        part = array[block]
        assert part.flags.c_contiguous
        assert part.size <= voxels
        # one after another in memory
        assert part.reshape(-1)[0] == position
        position += part.size
        assert all(b.start is not None and b.start < b.stop <= n for b, n in zip(block, shape, strict=True))
    assert position == array.size


def test_a_large_volume_is_cut():
    shape = (300, 1000, 1000)
    found = list(contiguous_blocks(shape))
    assert len(found) >= 100
    assert found[0] == (slice(0, found[0][0].stop), slice(0, 1000), slice(0, 1000))


# --- walking ----------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2, 30])
def test_walk_merges_in_order_and_ends_at_1(number):
    merged = []
    steps = list(walk(range(number), lambda block: block**2, merged.append, "squaring"))
    assert merged == [block**2 for block in range(number)]
    fractions = [step.fraction for step in steps]
    assert len(fractions) == number
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert {step.what for step in steps} == {"squaring"}
    assert not workers()


def test_walk_works_on_other_threads_and_merges_on_this_one():
    work, merge = set(), set()
    list(walk(range(10), lambda _: work.add(threading.get_ident()), lambda _: merge.add(threading.get_ident()), ""))
    assert threading.get_ident() not in work
    assert merge == {threading.get_ident()}


def test_walk_runs_blocks_at_the_same_time(two_threads):
    meeting = threading.Barrier(2, timeout=20)
    # passes only if both blocks are worked at once
    assert len(list(walk(range(2), lambda _: meeting.wait(), lambda _: None, ""))) == 2


def test_a_closed_walk_leaves_nothing_behind(two_threads):
    worked, merged = [], []
    steps = walk(range(100), worked.append, merged.append, "")
    next(steps)
    next(steps)
    assert workers()
    steps.close()
    assert not workers()
    assert len(merged) == 2
    # two merged, and not more than four in the queue
    assert 2 <= len(worked) <= 6


def test_a_closed_walk_drops_what_has_not_begun(two_threads):
    begun, release = [], threading.Event()

    def work(block):
        begun.append(block)
        # from block 1 on both threads are held, so that block 3 can only wait in the queue
        assert block == 0 or release.wait(60)

    steps = walk(range(100), work, lambda _: None, "")
    next(steps)
    threading.Timer(1, release.set).start()
    steps.close()
    assert 3 not in begun


def test_an_exception_in_work_is_told_and_leaves_nothing_behind(two_threads):
    worked = []

    def work(block):
        worked.append(block)
        if block == 3:
            raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        list(walk(range(100), work, lambda _: None, ""))
    assert not workers()
    assert len(worked) < 20


def test_an_exception_in_merge_leaves_nothing_behind(two_threads):
    def merge(_):
        raise MemoryError("full")

    with pytest.raises(MemoryError, match="full"):
        list(walk(range(100), abs, merge, ""))
    assert not workers()


@pytest.mark.parametrize("adjustment", [Gamma(0.5), AdaptiveEqualization(4)], ids=["gamma", "adaptive"])
def test_a_whole_job_can_be_closed_at_any_step(adjustment, small_blocks, two_threads):
    volume = reference.make_volume("uint16", (4, 9, 10))
    # the first run has steps more: it loads kernels
    for _ in range(2):
        number = len(list(adjust_steps(adjustment, Volume(volume))))
    assert number >= 8
    for stop in range(1, number, 3):
        steps = adjust_steps(adjustment, Volume(volume))
        for _ in range(stop):
            next(steps)
        steps.close()
        assert not workers()


def test_an_array_that_cannot_be_read_tells_so(small_blocks):
    class Broken:
        shape, dtype = (9, 10, 11), np.dtype(np.uint8)

        def __getitem__(self, index):
            raise OSError("truncated file")

    for adjustment in (Gamma(0.5), AdaptiveEqualization(4)):
        with pytest.raises(OSError, match="truncated file"):
            adjustment.fit(Broken())
        assert not workers()


# --- jobs -------------------------------------------------------------------------------


def job(log=None):
    try:
        for i in range(1, 5):
            yield Step(f"part {i}", i / 4)
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
        assert more > 0
        self.at += more


def test_drain_returns_the_result():
    assert drain(job()) == "result"


def test_drain_shows_how_far_it_is():
    assert drain(job(), Bar, delay=0) == "result"
    assert Bar.last.at == Bar.last.total
    assert Bar.last.texts == ["part 1", "part 2", "part 3", "part 4"]
    assert Bar.last.closed


def test_quick_jobs_show_nothing():
    Bar.last = None
    assert drain(job(), Bar) == "result"
    assert Bar.last is None


def test_drain_closes_the_job_when_it_is_interrupted():
    class Interrupting(Bar):
        def update(self, more):
            raise KeyboardInterrupt

    log = []
    with pytest.raises(KeyboardInterrupt):
        drain(job(log), Interrupting, delay=0)
    assert log == ["closed"]


def test_share_scales_and_hands_on():
    def longer():
        first = yield from share(job(), 0, 0.5)
        second = yield from share(job(), 0.5, 1)
        return first, second

    steps, result = reference.exhaust(longer())
    assert result == ("result", "result")
    np.testing.assert_allclose([step.fraction for step in steps], np.arange(1, 9) / 8)


def test_share_closes_what_it_holds():
    log = []
    steps = share(job(log), 0, 1)
    next(steps)
    steps.close()
    assert log == ["closed"]


# --- reading ----------------------------------------------------------------------------


def test_reading_copies_only_what_kernels_cannot_take():
    volume = reference.make_volume("uint16")
    block = (slice(1, 3), slice(0, 11), slice(0, 13))
    assert np.shares_memory(Volume(volume).read(block), volume)
    for other in (volume.astype(">u2"), np.asfortranarray(volume)):
        values = Volume(other).read(block)
        assert values.flags.c_contiguous
        assert values.dtype == np.uint16
        np.testing.assert_array_equal(values, volume[block])


def test_counted_voxels_of_a_block():
    volume = np.array([[0, 1, 2], [3, 0, 5]], np.uint8)
    mask = np.array([[1, 0, 4], [1, 1, 0]])
    block = (slice(0, 2), slice(1, 3))
    values = volume[block]
    assert Volume(volume).counted(block, values).size == 0
    assert Volume(volume, mask).counted(block, values).tolist() == [[False, True], [True, False]]
    assert Volume(volume, None, True).counted(block, values).tolist() == [[True, True], [False, True]]
    assert Volume(volume, mask, True).counted(block, values).tolist() == [[False, True], [False, False]]
