import subprocess
import sys
import threading
import types
from concurrent.futures import CancelledError
from operator import itemgetter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import reference
from napari_exposure.core import (
    AdaptiveEqualization,
    Gamma,
    adjust,
    adjust_gamma,
    blocks,
    histogram,
    percentile,
    progress,
)
from napari_exposure.core.blocks import contiguous_blocks, is_dask, walk
from napari_exposure.core.counting import count_histogram, find_percentiles
from napari_exposure.core.intensity import luminance
from napari_exposure.core.memory import Memory
from napari_exposure.core.threads import Threads
from napari_exposure.core.volume import Volume, each_volume

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
    steps, _ = reference.heard(lambda: walk(range(number), lambda block: block**2, merged.append, "squaring"))
    assert merged == [block**2 for block in range(number)]
    fractions = [step.fraction for step in steps]
    assert len(fractions) == number
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert {step.what for step in steps} == {"squaring"}
    assert not workers()


def test_walk_works_on_other_threads_and_merges_on_this_one():
    work, merge = set(), set()
    walk(range(10), lambda _: work.add(threading.get_ident()), lambda _: merge.add(threading.get_ident()), "")
    assert threading.get_ident() not in work
    assert merge == {threading.get_ident()}


def test_walk_runs_blocks_at_the_same_time(two_threads):
    meeting, met = threading.Barrier(2, timeout=20), []
    # passes only if both blocks are worked at once
    walk(range(2), lambda _: meeting.wait(), met.append, "")
    assert sorted(met) == [0, 1]


def test_a_stopped_walk_leaves_nothing_behind(two_threads):
    worked, merged, running = [], [], []
    work = lambda: walk(range(100), worked.append, merged.append, "")  # noqa: E731
    assert reference.stopped(work, 2, then=lambda: running.extend(workers()))
    assert running
    assert not workers()
    assert len(merged) == 2
    # two merged, and not more than four in the queue
    assert 2 <= len(worked) <= 6


def test_a_stopped_walk_drops_what_has_not_begun(two_threads):
    begun, release = [], threading.Event()

    def work(block):
        begun.append(block)
        # from block 1 on both threads are held, so that block 3 can only wait in the queue
        assert block == 0 or release.wait(60)

    stopping = threading.Timer(1, release.set)
    assert reference.stopped(lambda: walk(range(100), work, lambda _: None, ""), then=stopping.start)
    assert 3 not in begun


def test_an_exception_in_work_is_told_and_leaves_nothing_behind(two_threads):
    worked = []

    def work(block):
        worked.append(block)
        if block == 3:
            raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        walk(range(100), work, lambda _: None, "")
    assert not workers()
    assert len(worked) < 20


def test_an_exception_in_merge_leaves_nothing_behind(two_threads):
    def merge(_):
        raise MemoryError("full")

    with pytest.raises(MemoryError, match="full"):
        walk(range(100), abs, merge, "")
    assert not workers()


# --- many small volumes -----------------------------------------------------------------


def frames(number, shape=(3, 4)):
    movie = Volume(np.arange(number * 12, dtype=np.uint16).reshape(number, *shape))
    return [movie.at((each,)) for each in range(number)]


def test_small_volumes_are_worked_on_at_the_same_time(two_threads):
    meeting = threading.Barrier(2, timeout=20)
    # passes only if both are worked on at once
    assert sorted(each_volume(frames(2), lambda _: meeting.wait())) == [0, 1]


def test_large_volumes_are_worked_on_in_turn(two_threads, monkeypatch):
    # each of them has blocks for all threads
    monkeypatch.setattr(blocks, "BLOCK_VOXELS", 11)
    places = each_volume(frames(3), lambda _: threading.get_ident())
    assert set(places) == {threading.get_ident()}


def test_results_of_small_volumes_are_in_order_and_their_progress_never_runs_back(two_threads):
    def work(volume):
        for fraction in (0, 0.5, 1):
            progress.report("working", fraction)
        return volume.lead[0]

    steps, found = reference.heard(lambda: each_volume(frames(20), work))
    assert found == list(range(20))
    fractions = [step.fraction for step in steps]
    assert len(fractions) >= 20
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_stopped_work_on_small_volumes_leaves_nothing_behind(two_threads):
    worked = []

    def work(volume):
        worked.append(volume.lead)
        progress.report("working", 1)

    assert reference.stopped(lambda: each_volume(frames(100), work), 3)
    assert not workers()
    assert len(worked) < 20


def test_fits_of_small_volumes_that_are_remembered_come_at_once(two_threads):
    data = reference.make_volume("float32", (4, 3, 9, 10))
    volume = Volume(data, memory=Memory())
    adjustment = AdaptiveEqualization(4, per="volume")
    fitted = adjustment.fit_volume(volume, (1, 1, 1))
    with progress.at_once():
        again = adjustment.fit_volume(volume, (1, 1, 1))
        with pytest.raises(progress.MustRead):
            AdaptiveEqualization(3, per="volume").fit_volume(volume, (1, 1, 1))
    np.testing.assert_array_equal(fitted(data), again(data))


@pytest.mark.parametrize("adjustment", [Gamma(0.5), AdaptiveEqualization(4)], ids=["gamma", "adaptive"])
def test_a_whole_job_can_be_closed_at_any_step(adjustment, small_blocks, two_threads):
    volume = reference.make_volume("uint16", (4, 9, 10))
    # the first run has more reports: it loads kernels
    for _ in range(2):
        number = len(reference.heard(lambda: adjust(adjustment, volume))[0])
    assert number >= 8
    for stop in range(1, number, 3):
        assert reference.stopped(lambda: adjust(adjustment, volume), stop)
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


# --- a part of a volume -----------------------------------------------------------------


@st.composite
def boxes(draw, shape):
    """Any part of a shape that is not empty."""
    found = []
    for size in shape:
        start = draw(st.integers(0, size - 1))
        found.append(slice(start, draw(st.integers(start + 1, size))))
    return tuple(found)


@given(st.data())
def test_a_box_reads_as_the_part_itself_would(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 6), min_size=2, max_size=5)))
    box = data.draw(boxes(shape))
    lead = data.draw(st.integers(0, len(shape) - 1))
    array = np.arange(np.prod(shape), dtype=np.int32).reshape(shape) % 97
    mask = array % 3
    volume = Volume(array, mask, True, box=box)
    index = tuple(data.draw(st.integers(0, part.stop - part.start - 1)) for part in box[:lead])
    at = volume.at(index)
    expected, counted = array[box][index], (mask != 0)[box][index]
    assert at.shape == expected.shape
    assert at.size == expected.size
    for block in contiguous_blocks(at.shape, data.draw(st.integers(1, 50))):
        values = at.read(block)
        assert values.flags.c_contiguous
        np.testing.assert_array_equal(values, expected[block])
        np.testing.assert_array_equal(at.counted(block, values), counted[block] & (expected[block] != 0))


class Watched:
    """An array-like that notes which voxels were asked for."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.read = np.zeros(array.shape, bool)

    def __getitem__(self, index):
        self.read[index] = True
        return self.array[index]


def test_nothing_beside_a_box_is_read(small_blocks):
    array = reference.make_volume("uint16", (3, 7, 11, 13))
    box = (slice(1, 2), slice(2, 6), slice(0, 9), slice(4, 13))
    watched, mask = Watched(array), Watched(np.ones(array.shape, bool))
    count_histogram(Volume(watched, mask, box=box))
    expected = np.zeros(array.shape, bool)
    expected[box] = True
    np.testing.assert_array_equal(watched.read, expected)
    np.testing.assert_array_equal(mask.read, expected)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_statistics_of_a_box(dtype, small_blocks):
    array = reference.make_volume(dtype, (2, 6, 11, 13))
    mask = np.random.default_rng(0).random(array.shape) < 0.5
    box = (slice(0, 2), slice(1, 4), slice(3, 11), slice(2, 9))
    volume = Volume(array, mask, box=box)
    found, expected = count_histogram(volume), histogram(array[box], mask=mask[box])
    np.testing.assert_array_equal(found.counts, expected.counts)
    np.testing.assert_array_equal(found.edges, expected.edges)
    assert (found.mean, found.at_maximum) == (expected.mean, expected.at_maximum)
    assert find_percentiles(volume, [30]) == [percentile(array[box], 30, mask=mask[box])]


def test_a_box_of_whole_planes_is_not_copied():
    array = reference.make_volume("uint16")
    volume = Volume(array, box=(slice(2, 5), slice(0, 11), slice(0, 13)))
    (block,) = contiguous_blocks(volume.shape)
    assert np.shares_memory(volume.read(block), array)


def test_a_box_of_colours_has_no_colour_axis():
    array = np.random.default_rng(0).integers(0, 256, (4, 9, 10, 4), np.uint8)
    mask = np.random.default_rng(1).random((4, 9, 10)) < 0.5
    box = (slice(1, 3), slice(2, 9), slice(0, 5))
    volume = Volume(array, mask, rgb=True, box=box)
    assert volume.shape == (2, 7, 5)
    assert volume.at((1,)).shape == (7, 5)
    block = (slice(0, 2), slice(1, 4), slice(2, 5))
    values = volume.read(block)
    np.testing.assert_array_equal(values, array[box][block][..., :3].max(axis=-1))
    np.testing.assert_array_equal(volume.counted(block, values), mask[box][block])


# --- colour -----------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("dtype", ["uint8", ">u2", "float16", "float32"])
def test_what_is_read_of_colours_can_be_chosen(dtype, channels):
    array = np.random.default_rng(0).integers(0, 256, (4, 9, 10, channels)).astype(dtype)
    block = (slice(1, 4), slice(0, 9), slice(0, 10))
    np.testing.assert_array_equal(Volume(array, rgb=True).read(block), array[block][..., :3].max(axis=-1))
    for channel in range(channels):
        values = Volume(array, rgb=True, color=itemgetter((..., channel))).read(block)
        np.testing.assert_array_equal(values, array[block][..., channel])
        # as kernels take it
        assert values.flags.c_contiguous
        assert values.dtype == (np.float32 if dtype == "float16" else array.dtype.newbyteorder("="))
    expected = array[block][..., :3].astype(np.float64) @ [0.2126, 0.7152, 0.0722]
    found = Volume(array, rgb=True, color=luminance).read(block)
    tolerance = {"float16": 0.13, "float32": 1e-4}.get(dtype, 0.5001)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def test_zeros_are_those_of_the_colour_that_is_read():
    array = np.array([[[0, 5, 0], [7, 0, 0], [0, 0, 0]]], np.uint8)
    block = (slice(0, 1), slice(0, 3))
    for colour, expected in ((0, [False, True, False]), (1, [True, False, False]), (2, [False] * 3)):
        volume = Volume(array, None, True, True, color=itemgetter((..., colour)))
        assert volume.counted(block, volume.read(block))[0].tolist() == expected
    volume = Volume(array, None, True, True)
    assert volume.counted(block, volume.read(block))[0].tolist() == [True, True, False]


def test_without_colours_nothing_is_chosen():
    array = reference.make_volume("uint8", (5, 6, 3))
    block = (slice(0, 5), slice(0, 6), slice(0, 3))
    np.testing.assert_array_equal(Volume(array, color=luminance).read(block), array)


def test_histograms_of_channels(small_blocks):
    array = np.random.default_rng(0).integers(10, 200, (4, 9, 10, 3), np.uint8)
    for channel in range(3):
        found = count_histogram(Volume(array, rgb=True, color=itemgetter((..., channel))))
        np.testing.assert_array_equal(found.counts, np.bincount(array[..., channel].ravel())[int(found.minimum) :])


def test_nothing_is_of_dask_while_dask_is_being_imported(monkeypatch):
    # as another thread sees the module in the middle of its import
    monkeypatch.setitem(sys.modules, "dask.array.core", types.ModuleType("dask.array.core"))
    assert not is_dask(np.zeros(3))
    assert adjust_gamma(np.array([[0, 64, 255]], np.uint8)).tolist() == [[0, 64, 255]]


@pytest.mark.parametrize("how", ["array", "dask"])
def test_a_process_ends_while_a_read_hangs(how):
    # In a thread that is left to itself, as a job of a window that was closed is.
    code = f"""
import threading
import numpy as np
from napari_exposure.core import blocks, histogram

begun = threading.Event()

class Slow:
    shape, dtype, ndim = (6, 64, 64), np.dtype("u1"), 3

    def __getitem__(self, index):
        begun.set()
        threading.Event().wait()

array = Slow()
if {how == "dask"}:
    import dask.array as da
    array = da.from_array(array, chunks=(1, 64, 64), meta=np.zeros((0, 0, 0), "u1"))
blocks.BLOCK_VOXELS = 64 * 64
blocks.contiguous_blocks.__defaults__ = (64 * 64,)
threading.Thread(target=histogram, args=[array], daemon=True).start()
assert begun.wait(60)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_pool_drops_what_has_not_begun():
    begun, go = threading.Event(), threading.Event()

    def first():
        begun.set()
        go.wait()
        return 1

    pool = Threads(1)
    futures = [pool.submit(first), *(pool.submit(pow, 2, n) for n in range(5))]
    begun.wait()
    ending = threading.Thread(target=pool.shutdown, kwargs={"cancel_futures": True})
    ending.start()
    for future in futures[1:]:
        with pytest.raises(CancelledError):
            future.result(60)
    assert not futures[0].done()
    go.set()
    ending.join()
    assert futures[0].result() == 1
    with Threads(2) as pool, pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 1, 0).result()
