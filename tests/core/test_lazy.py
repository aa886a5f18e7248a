"""dask arrays and arrays on disk: the values of numpy, each chunk read once, nothing computed before its time."""

import os
import pickle
import shutil
import signal
import threading
import time
import uuid
from collections import Counter
from functools import partial
from types import SimpleNamespace

import dask
import dask.array as da
import h5py
import numpy as np
import psutil
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from core import reference
from napari_exposure import core
from napari_exposure.core import (
    AdaptiveEqualization,
    Gamma,
    HistogramEqualization,
    LocalStretch,
    PercentileClip,
    adjust,
    adjust_gamma,
    blocks,
    clip_percentiles,
    counting,
    cumulative_distribution,
    equalize_adapthist,
    equalize_hist,
    histogram,
    lazy,
    percentile,
    progress,
    stretch_local,
)
from napari_exposure.core import volume as volumes
from napari_exposure.core.blocks import store
from napari_exposure.core.counting import count_histogram, find_percentiles
from napari_exposure.core.memory import Memory
from napari_exposure.core.volume import Volume
from napari_exposure.saving import save

# one parameter each that lets the verb do something, with tiles that fit small volumes
ACTIVE = {
    adjust_gamma: {"gamma": 0.5},
    clip_percentiles: {"low": 2, "high": 95},
    equalize_hist: {},
    equalize_adapthist: {"kernel_size": 5},
    stretch_local: {"kernel_size": 5},
}
ADJUSTMENTS = (Gamma(0.5), PercentileClip(2, 95), HistogramEqualization(), AdaptiveEqualization(5), LocalStretch(5))
SHAPE, CHUNKS = (6, 11, 13), ((1, 3, 2), (4, 7), (6, 1, 6))

every_verb = pytest.mark.parametrize("verb", ACTIVE, ids=lambda verb: verb.__name__)
every_adjustment = pytest.mark.parametrize("adjustment", ADJUSTMENTS, ids=lambda adjustment: adjustment.short_name)


def run(verb, volume, **options):
    return verb(volume, **ACTIVE[verb], **options)


def same_bits(found, expected):
    """The same values, bit by bit."""
    found = np.asarray(found)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    assert found.tobytes() == expected.tobytes()


def same_histogram(found, expected):
    for name in ("counts", "edges"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    for name in ("minimum", "maximum", "below", "above", "nan", "by_value"):
        np.testing.assert_equal(getattr(found, name), getattr(expected, name))
    # its last digits depend on which voxels are added up in a block
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-12)


def workers():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("napari-exposure")]


def watched(array, chunks, work=lambda place: None):
    """A dask array that counts how often each of its chunks is made; `work` is done in it."""
    reads, lock = Counter(), threading.Lock()

    def note(chunk, block_info=None):
        if block_info:
            place = tuple(block_info[0]["chunk-location"])
            with lock:
                reads[place] += 1
            work(place)
        return chunk

    found = da.from_array(array, chunks=chunks, name=False)
    return found.map_blocks(note, dtype=array.dtype, meta=np.empty((0,) * array.ndim, array.dtype)), reads


def times(array, reads):
    """How often every chunk was read, which must be the same for all."""
    assert len(reads) == np.prod(array.numblocks)
    (number,) = set(reads.values())
    return number


@pytest.fixture
def small_tasks(monkeypatch):
    """Small chunks are not joined, so that small arrays take the way of large ones."""
    monkeypatch.setattr(lazy, "BLOCK_VOXELS", 1)
    monkeypatch.setattr(blocks.chunked_blocks, "__defaults__", (1,))


# --- the values of numpy ------------------------------------------------------------------


@st.composite
def chunkings(draw, shape):
    """Any way to cut a shape, also irregular."""
    found = []
    for size in shape:
        sizes = []
        while sum(sizes) < size:
            sizes.append(draw(st.integers(1, size - sum(sizes))))
        found.append(tuple(sizes))
    return tuple(found)


def outcome(verb, volume, **options):
    """The result, or what is wrong with the input."""
    try:
        return np.asarray(run(verb, volume, **options))
    except ValueError as error:
        return str(error)


@pytest.mark.filterwarnings("ignore:.*only one intensity")
@settings(max_examples=40)
@given(st.data())
def test_any_chunking_gives_the_values_of_numpy(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 7), min_size=2, max_size=5), "shape"))
    volume = reference.make_volume(data.draw(st.sampled_from(reference.DTYPES), "dtype"), shape, seed=sum(shape))
    if volume.dtype.kind == "f" and data.draw(st.booleans(), "NaN"):
        volume.flat[::5] = np.nan
    verb = data.draw(st.sampled_from(list(ACTIVE)), "verb")
    options = {
        "per": data.draw(st.sampled_from(["dataset", "volume", "plane"]), "per"),
        "ignore_zeros": data.draw(st.booleans(), "ignore_zeros"),
        "output": data.draw(st.sampled_from(["dtype", "float32"]), "output"),
    }
    chunks = data.draw(chunkings(shape), "chunks")
    mask = data.draw(st.sampled_from(["none", "numpy", "dask"]), "mask")
    masks = [None, None]
    if mask != "none":
        masks = [np.random.default_rng(0).random(shape) < 0.6] * 2
        if mask == "dask":
            masks[1] = da.from_array(masks[0], chunks=data.draw(chunkings(shape), "mask's chunks"))
    voxels = data.draw(st.sampled_from([1, 40, 1 << 21]), "voxels of a task")
    expected = outcome(verb, volume, mask=masks[0], **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lazy, "BLOCK_VOXELS", voxels)
        found = outcome(verb, da.from_array(volume, chunks=chunks), mask=masks[1], **options)
    if isinstance(expected, str):
        assert found == expected
    else:
        same_bits(found, expected)


@every_verb
@pytest.mark.parametrize("dtype", reference.DTYPES)
def test_results_are_dask_arrays_of_the_same_chunks(verb, dtype, small_tasks):
    volume = reference.make_volume(dtype, SHAPE)
    array, reads = watched(volume, CHUNKS)
    result = run(verb, array)
    passes = times(array, reads)
    assert isinstance(result, da.Array)
    assert result.shape == array.shape
    assert result.chunks == array.chunks
    expected = run(verb, volume)
    # said before it is computed
    assert result.dtype == result._meta.dtype == expected.dtype
    assert times(array, reads) == passes
    same_bits(result, expected)
    assert times(array, reads) == passes + 1


@every_verb
def test_results_of_a_part_read_its_chunks_only(verb, small_tasks):
    volume = reference.make_volume("uint16", SHAPE)
    array, reads = watched(volume, (2, 11, 13))
    result = run(verb, array)
    reads.clear()
    same_bits(result[3], run(verb, volume)[3])
    assert reads == {(1, 0, 0): 1}


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@every_verb
def test_results_can_be_computed_by_any_scheduler(verb, scheduler):
    volume = reference.make_volume("float32", SHAPE)
    with dask.config.set(scheduler=scheduler):
        same_bits(run(verb, da.from_array(volume, chunks=CHUNKS)), run(verb, volume))


@pytest.mark.parametrize("dtype", [">u2", ">f4", "float16"])
@every_verb
def test_other_byte_orders(verb, dtype, small_tasks):
    native = reference.make_volume(np.dtype(dtype).newbyteorder("="), SHAPE)
    array = da.from_array(native.astype(dtype), chunks=CHUNKS)
    assert array.dtype == dtype
    expected = run(verb, native)
    result = run(verb, array)
    assert result.dtype == expected.dtype
    same_bits(result, expected)


@every_verb
def test_read_only_arrays(verb):
    volume = reference.make_volume("float32", SHAPE)
    expected = run(verb, volume)
    volume.flags.writeable = False
    before = volume.copy()
    same_bits(run(verb, da.from_array(volume, chunks=CHUNKS)), expected)
    np.testing.assert_array_equal(volume, before)


@every_verb
def test_nan_in_chunks(verb, small_tasks):
    volume = reference.make_volume("float32", SHAPE)
    volume[0] = np.nan
    volume[3, 2:5] = np.inf
    # the first chunk holds nothing that is counted
    result = run(verb, da.from_array(volume, chunks=CHUNKS)).compute()
    assert np.isnan(result[0]).all()
    same_bits(result, run(verb, volume))


@every_verb
def test_chunks_of_no_voxels(verb, small_tasks):
    # as da.concatenate and boolean indexing make them
    volume = reference.make_volume("uint16", SHAPE)
    array = da.from_array(volume, chunks=((0, 4, 0, 2), (11, 0), (13,)))
    same_bits(run(verb, array), run(verb, volume))


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@every_verb
def test_colours_in_chunks_of_their_own(verb, dtype, channels, small_tasks):
    volume = np.random.default_rng(0).integers(0, 256, (4, 9, 10, channels)).astype(dtype)
    volume = volume / np.float32(255) if dtype == "float32" else volume
    array, reads = watched(volume, ((1, 3), (9,), (4, 6), (1,) * channels))
    mask = np.random.default_rng(1).random(volume.shape[:-1]) < 0.5
    for options in ({}, {"mask": mask}, {"per": "plane"}):
        result = run(verb, array, rgb=True, **options)
        assert result.chunks == (*array.chunks[:-1], (channels,))
        same_bits(result, run(verb, volume, rgb=True, **options))
    reads.clear()
    run(verb, array, rgb=True)
    # colours of a voxel are read together, and once a pass
    assert times(array, reads) <= 3
    same_bits(
        run(verb, array, rgb=True, mask=da.from_array(mask, chunks=(3, 2, 10))), run(verb, volume, rgb=True, mask=mask)
    )


@pytest.mark.parametrize("kind", ["bool", "uint8", "float32"])
@every_verb
def test_masks_of_any_chunks(verb, kind, small_tasks):
    volume = reference.make_volume("uint16", SHAPE)
    volume[:, :3] = 0
    mask = ((np.random.default_rng(0).random(SHAPE) < 0.5) * 3).astype(kind)
    array = da.from_array(volume, chunks=CHUNKS)
    for options in ({}, {"ignore_zeros": True}, {"per": "volume"}):
        expected = run(verb, volume, mask=mask, **options)
        for other in (mask, da.from_array(mask, chunks=(5, 3, 13)), da.from_array(mask, chunks=CHUNKS)):
            same_bits(run(verb, array, mask=other, **options), expected)
        # a mask that is read as one goes along
        same_bits(run(verb, volume, mask=da.from_array(mask, chunks=(5, 3, 13)), **options), expected)


@pytest.mark.parametrize("shape", [(23, 17), (2, 5, 9, 8), (2, 3, 4, 7, 6)])
@pytest.mark.parametrize("per", ["dataset", "volume", "plane"])
@every_verb
def test_axes(verb, per, shape, small_tasks):
    volume = reference.make_volume("uint16", shape)
    array = da.from_array(volume, chunks=tuple(max(1, n // 2) for n in shape))
    same_bits(run(verb, array, per=per), run(verb, volume, per=per))


# --- on disk ----------------------------------------------------------------------------

STORES = ("memmap", "zarr2", "zarr3", "sharded", "zarr >", "h5py", "h5py whole")


@pytest.fixture
def on_disk(tmp_path):
    """Arrays as files."""
    files = []

    def make(kind, array):
        path = tmp_path / uuid.uuid4().hex
        chunks = tuple(min(n, size) for n, size in zip(array.shape, (4, 4, 6, 7)[-array.ndim :], strict=True))
        if kind == "memmap":
            np.save(path.with_suffix(".npy"), array)
            return np.load(path.with_suffix(".npy"), mmap_mode="r")
        if kind.startswith("h5py"):
            files.append(h5py.File(path, "w"))
            return files[-1].create_dataset("volume", data=array, chunks=chunks if kind == "h5py" else None)
        options = {"zarr_format": 2 if kind == "zarr2" else 3}
        if kind == "sharded":
            options["shards"] = tuple(2 * n for n in chunks)
        dtype = array.dtype.newbyteorder(">") if kind == "zarr >" else array.dtype
        stored = zarr.create_array(path, shape=array.shape, chunks=chunks, dtype=dtype, **options)
        stored[...] = array
        return zarr.open_array(path, mode="r")

    yield make
    for file in files:
        file.close()


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@every_verb
def test_files(verb, dtype, kind, on_disk, small_tasks):
    volume = reference.make_volume(dtype, SHAPE)
    mask = np.random.default_rng(0).random(SHAPE) < 0.5
    stored = on_disk(kind, volume)
    for options in ({}, {"per": "volume", "mask": mask}):
        expected = run(verb, volume, **options)
        result = run(verb, stored, **options)
        assert isinstance(result, np.ndarray)
        same_bits(result, expected)
        result = run(verb, lazy.as_dask(stored), **options)
        assert isinstance(result, da.Array)
        same_bits(result, expected)
    same_bits(run(verb, stored, mask=on_disk(kind, mask)), run(verb, volume, mask=mask))
    same_bits(run(verb, lazy.as_dask(stored), mask=on_disk(kind, mask)), run(verb, volume, mask=mask))


@pytest.mark.parametrize("kind", STORES)
@every_verb
def test_files_of_colours(verb, kind, on_disk, small_tasks):
    volume = np.random.default_rng(0).integers(0, 256, (4, 9, 10, 3), np.uint8)
    stored = on_disk(kind, volume)
    same_bits(run(verb, stored, rgb=True), run(verb, volume, rgb=True))


@pytest.mark.parametrize("kind", ["memmap", "zarr2", "zarr3", "sharded", "h5py", "h5py whole"])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_statistics_of_files_and_dask_arrays(dtype, kind, on_disk, small_tasks):
    volume = reference.make_volume(dtype, SHAPE)
    mask = np.random.default_rng(0).random(SHAPE) < 0.5
    stored = on_disk(kind, volume)
    for array in (stored, da.from_array(stored, chunks=(3, 4, 13)), lazy.as_dask(stored)):
        for options in ({}, {"mask": mask}, {"ignore_zeros": True}):
            same_histogram(histogram(array, **options), histogram(volume, **options))
            quantiles = (0, 3, 50, 99.9, 100)
            np.testing.assert_array_equal(
                percentile(array, quantiles, **options), percentile(volume, quantiles, **options)
            )
            pairs = cumulative_distribution(array, **options), cumulative_distribution(volume, **options)
            for found, expected in zip(*pairs, strict=True):
                np.testing.assert_array_equal(found, expected)
    assert percentile(stored, 50) == np.percentile(volume, 50)


class Asked:
    """A chunked array that notes what is asked of it."""

    def __init__(self, array, chunks):
        self.array, self.chunks = array, chunks
        self.shape, self.dtype = array.shape, array.dtype
        self.reads = Counter()

    def __getitem__(self, index):
        self.reads[tuple((part.start, part.stop) for part in index)] += 1
        return self.array[index]


@pytest.mark.parametrize("voxels", [1, 300])
@given(st.data())
@settings(max_examples=20)
def test_chunks_on_disk_are_read_whole_and_once(voxels, data):
    shape = tuple(data.draw(st.lists(st.integers(1, 12), min_size=2, max_size=4)))
    chunks = tuple(data.draw(st.integers(1, 9)) for _ in shape)
    stored = Asked(reference.make_volume("uint16", shape), chunks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks.chunked_blocks, "__defaults__", (voxels,))
        histogram(stored)
    seen = np.zeros(shape, int)
    for place in stored.reads:
        seen[tuple(slice(*ends) for ends in place)] += 1
        assert all(
            start % chunk == 0 and (stop % chunk == 0 or stop == n)
            for (start, stop), chunk, n in zip(place, chunks, shape, strict=True)
        )
    assert (seen == 1).all()
    assert set(stored.reads.values()) == {1}


def test_as_dask_keeps_the_chunks_that_are_there(on_disk):
    volume = reference.make_volume("uint16", SHAPE)
    assert lazy.as_dask(on_disk("zarr3", volume)).chunksize == (4, 6, 7)
    assert lazy.as_dask(on_disk("h5py", volume)).chunksize == (4, 6, 7)
    # a shard is what is read at once
    assert lazy.as_dask(on_disk("sharded", volume)).chunksize == (6, 11, 13)
    array = da.from_array(volume, chunks=CHUNKS)
    assert lazy.as_dask(array) is array


# --- passes -----------------------------------------------------------------------------

# of volumes that are too large to be sorted
PASSES = {
    "gamma": {"uint16": 1, "float32": 1},
    "clip": {"uint16": 1, "float32": 2, "float64": 4},
    "equalized": {"float32": 2, "uint32": 2},
    "adaptive": {"uint16": 2, "float32": 3},
    "stretched": {"uint16": 2, "float32": 3},
}


@pytest.mark.parametrize("voxels", [1, 300, 1 << 21])
@pytest.mark.parametrize(("name", "dtype"), [(name, dtype) for name, found in PASSES.items() for dtype in found])
def test_each_chunk_is_read_once_a_pass(name, dtype, voxels, monkeypatch):
    monkeypatch.setattr(lazy, "BLOCK_VOXELS", voxels)
    monkeypatch.setattr(counting, "FEW", 0)
    adjustment = next(each for each in ADJUSTMENTS if each.short_name == name)
    array, reads = watched(reference.make_volume(dtype, SHAPE), CHUNKS)
    adjustment.fit(array, mask=np.ones(SHAPE, bool))
    assert times(array, reads) == PASSES[name][dtype]


def test_fixed_ranges_need_no_pass():
    array, reads = watched(reference.make_volume("uint16", SHAPE), CHUNKS)
    result = adjust_gamma(array, 0.5, in_range=(0, 1000))
    assert not reads
    result.compute()
    assert times(array, reads) == 1


def test_what_is_remembered_is_not_read_again():
    array, reads = watched(reference.make_volume("uint16", SHAPE), CHUNKS)
    volume = Volume(array, memory=Memory())
    for adjustment in (HistogramEqualization(), PercentileClip(2, 95), Gamma(0.5)):
        adjustment.fit_volume(volume)
        assert times(array, reads) == 1


@pytest.mark.parametrize("seed", range(5))
def test_means_do_not_depend_on_which_chunk_comes_first(seed, small_tasks, monkeypatch):
    volume = reference.make_volume("float32", (12, 11, 13)) * np.float32(np.pi)
    array = da.from_array(volume, chunks=(1, 5, 13))
    expected = histogram(array)
    as_they_come = lazy._on_threads

    def shuffled(tasks):
        results = sorted(as_they_come(tasks), key=lambda result: result[0])
        np.random.default_rng(seed).shuffle(results)
        yield from results

    monkeypatch.setattr(lazy, "_on_threads", shuffled)
    assert histogram(array) == expected


def test_small_chunks_are_joined(monkeypatch):
    volume = reference.make_volume("uint16", (32, 10, 10))
    for voxels, expected in ((1, 32), (399, 32), (400, 8), (1600, 2), (1 << 21, 1)):
        monkeypatch.setattr(lazy, "BLOCK_VOXELS", voxels)
        array, reads = watched(volume, (1, 10, 10))
        steps, _ = reference.heard(partial(count_histogram, Volume(array)))
        counting = [step for step in steps if step.what == "counting gray levels"]
        assert len(counting) == expected
        assert times(array, reads) == 1
        fractions = [step.fraction for step in counting]
        np.testing.assert_allclose(fractions, np.arange(1, expected + 1) / expected)
        # what is known so far is the sum in order, and of whole blocks
        assert [step.partial.total for step in counting] == [round(volume.size * f) for f in fractions]


def test_chunks_are_joined_along_space(monkeypatch):
    # along z, not along time: a task then reads what lies together
    monkeypatch.setattr(lazy, "BLOCK_VOXELS", 400)
    array = da.zeros((3, 8, 10, 10), chunks=(1, 1, 10, 10))
    assert lazy._grouped(array).chunks == ((1, 1, 1), (4, 4), (10,), (10,))
    plane = da.zeros((30, 10), chunks=(1, 10))
    assert lazy._grouped(plane).chunks == ((30,), (10,))
    large = da.zeros((8, 101, 1), chunks=(1, 101, 1))
    assert lazy._grouped(large) is large
    whole = da.zeros((1, 10, 10), chunks=(1, 2, 2))
    assert lazy._grouped(whole) is whole


def test_results_are_merged_as_they_come(small_tasks):
    # the later a chunk is, the sooner it is made
    volume = np.arange(8, dtype=np.uint16).repeat(20).reshape(8, 4, 5)
    array, _ = watched(volume, (1, 4, 5), lambda place: time.sleep(0.02 * (8 - place[0])))
    found, places = [], []

    def visit(block, values, counted):
        return block, values.copy()

    def merge(part):
        places.append(part[0])
        found.append(part[1])

    volumes.count(Volume(array), visit, merge, "looking")
    starts = [place[0].start for place in places]
    assert sorted(starts) == list(range(8))
    np.testing.assert_array_equal(np.concatenate(found), volume[starts])


# --- a part of a volume -----------------------------------------------------------------


@pytest.mark.parametrize("voxels", [1, 1 << 21])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@settings(max_examples=8)
@given(st.data())
def test_a_box_of_a_dask_array(dtype, voxels, data):
    shape = tuple(data.draw(st.lists(st.integers(2, 6), min_size=3, max_size=5)))
    lead = data.draw(st.integers(0, len(shape) - 2))
    box = []
    for size in shape:
        start = data.draw(st.integers(0, size - 1))
        box.append(slice(start, data.draw(st.integers(start + 1, size))))
    box = tuple(box) if data.draw(st.booleans()) else ()
    index = tuple(data.draw(st.integers(0, (part.stop - part.start) - 1)) for part in box[:lead])
    volume = reference.make_volume(dtype, shape)
    mask = np.random.default_rng(0).random(shape) < 0.7
    chunks = data.draw(chunkings(shape))
    expected = Volume(volume, mask, True, box=box).at(index)
    found = Volume(da.from_array(volume, chunks=chunks), da.from_array(mask, chunks=3), True, box=box).at(index)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lazy, "BLOCK_VOXELS", voxels)
        if not mask[box or ...][index].any():
            return
        same_histogram(count_histogram(found), count_histogram(expected))
        assert find_percentiles(found, (10, 50)) == find_percentiles(expected, (10, 50))


def test_a_box_of_colours():
    volume = np.random.default_rng(0).integers(0, 256, (4, 9, 10, 3), np.uint8)
    mask = np.random.default_rng(1).random(volume.shape[:-1]) < 0.5
    box = (slice(1, 3), slice(2, 9), slice(0, 5))
    array = da.from_array(volume, chunks=(3, 4, 5, 1))
    found = count_histogram(Volume(array, mask, rgb=True, box=box))
    same_histogram(found, count_histogram(Volume(volume, mask, rgb=True, box=box)))


def test_nothing_beside_a_box_is_read(small_tasks):
    array, reads = watched(reference.make_volume("uint16", (6, 8, 10)), (1, 4, 10))
    count_histogram(Volume(array, box=(slice(2, 4), slice(5, 7), slice(0, 3))))
    assert reads == {(2, 1, 0): 1, (3, 1, 0): 1}


# --- transforms -------------------------------------------------------------------------


@every_adjustment
def test_transforms_of_other_shapes(adjustment):
    volume = reference.make_volume("uint16", (8, 12, 14))
    transform = adjustment.fit(da.from_array(volume, chunks=(3, 12, 5)))
    level = volume[:, ::2, ::2]
    result = transform.at_level(level.shape).apply(da.from_array(level, chunks=(8, 4, 3)))
    assert isinstance(result, da.Array)
    same_bits(result, transform.at_level(level.shape).apply(level))
    if adjustment.place_note:
        with pytest.raises(ValueError, match=r"fitted on shape \(8, 12, 14\), this volume has \(8, 6, 7\)"):
            transform.apply(da.from_array(level))
    else:
        same_bits(transform.apply(da.from_array(level)), transform.apply(volume)[:, ::2, ::2])


def test_a_job_gives_a_lazy_result():
    array, reads = watched(reference.make_volume("uint16", SHAPE), CHUNKS)
    steps, result = reference.heard(lambda: adjust(Gamma(0.5), array))
    fractions = [step.fraction for step in steps]
    assert fractions == sorted(fractions)
    assert isinstance(result, da.Array)
    assert times(array, reads) == 1


# --- what cannot be worked on -----------------------------------------------------------


def unknown(volume):
    array = da.from_array(volume, chunks=(1, 11, 13))
    return array[array[:, 0, 0] >= 0]


@pytest.mark.parametrize("job", [*ACTIVE, histogram, cumulative_distribution], ids=lambda job: job.__name__)
def test_chunks_of_unknown_size(job):
    with pytest.raises(ValueError, match=r"chunks of unknown size.*compute_chunk_sizes"):
        job(unknown(reference.make_volume("uint16", SHAPE)))


def test_checked_names_unknown_chunks():
    array = unknown(reference.make_volume("uint16", SHAPE))
    with pytest.raises(ValueError, match=r"chunks of unknown size.*compute_chunk_sizes"):
        lazy.checked(array)
    array.compute_chunk_sizes()
    assert lazy.checked(array) is array


def test_masks_of_unknown_size():
    volume = reference.make_volume("uint16", SHAPE)
    with pytest.raises(ValueError, match=r"unknown size.*compute_chunk_sizes"):
        adjust_gamma(da.from_array(volume), mask=unknown(volume))


@pytest.mark.parametrize("job", [*ACTIVE, histogram, cumulative_distribution], ids=lambda job: job.__name__)
def test_chunks_too_large_for_memory(job, monkeypatch):
    # one chunk of many is, 1.5 GB twice, and nothing is made
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=9 << 30, available=2 << 30))
    array = da.zeros((1025, 1024, 1024), chunks=((1, 768, 256), 1024, 1024), dtype=np.uint16)
    array = array.map_blocks(lambda chunk: chunk // 0, dtype=np.uint16, meta=np.empty((0, 0, 0), np.uint16))
    with pytest.raises(ValueError, match=r"chunk of shape \(768, 1024, 1024\) takes 1\.5 GB.*\(2\.0 GB\).*rechunk"):
        job(array)


def test_chunks_that_just_fit(monkeypatch):
    volume = np.zeros((4, 8, 8), np.uint16)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1024))
    lazy.checked(da.from_array(volume))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1023))
    with pytest.raises(ValueError, match="Use smaller chunks"):
        lazy.checked(da.from_array(volume))
    # not only a fit refuses
    transform = Gamma(0.5, in_range=(0, 10)).fit(volume)
    with pytest.raises(ValueError, match="Use smaller chunks"):
        transform.apply(da.from_array(volume))


# --- what cannot be read ----------------------------------------------------------------


@pytest.mark.parametrize("way", ["zarr", "dask", "joined"])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@every_verb
def test_a_corrupt_chunk_is_named(verb, dtype, way, tmp_path, monkeypatch):
    if way != "joined":
        monkeypatch.setattr(lazy, "BLOCK_VOXELS", 1)
    volume = reference.make_volume(dtype, (6, 10, 12))
    stored = zarr.create_array(tmp_path / "a.zarr", shape=volume.shape, chunks=(2, 5, 12), dtype=dtype)
    stored[...] = volume
    (tmp_path / "a.zarr" / "c" / "1" / "1" / "0").write_bytes(b"nonsense")
    array = stored if way == "zarr" else da.from_zarr(stored)
    where = (
        r"\[2:4, 0:10, 0:12\]|\[0:6, 5:10, 0:12\]|\[0:6, 0:10, 0:12\]" if way == "joined" else r"\[2:4, 5:10, 0:12\]"
    )
    with pytest.raises(OSError, match=rf"The voxels ({where}) cannot be read: \w+: \w+"):
        run(verb, array)
    assert not workers()


def test_a_missing_chunk_reads_as_the_fill_value(tmp_path):
    volume = reference.make_volume("uint16", (6, 10, 12))
    stored = zarr.create_array(tmp_path / "a.zarr", shape=volume.shape, chunks=(2, 5, 12), dtype="u2", fill_value=7)
    stored[...] = volume
    (tmp_path / "a.zarr" / "c" / "1" / "1" / "0").unlink()
    volume[2:4, 5:10] = 7
    for verb in ACTIVE:
        expected = run(verb, volume)
        same_bits(run(verb, stored), expected)
        same_bits(run(verb, da.from_zarr(stored)), expected)


@pytest.mark.parametrize("inside", ["", "group"])
def test_a_store_that_is_removed_is_no_fill_value(inside, tmp_path):
    volume = reference.make_volume("uint16", (6, 10, 12))
    stored = zarr.create_array(tmp_path / "a.zarr", name=inside or None, data=volume, chunks=(2, 5, 12))
    lazy_one = da.from_zarr(stored)
    assert core.histogram(lazy_one) == core.histogram(volume)
    shutil.rmtree(tmp_path / "a.zarr")
    for array in (stored, lazy_one):
        for work in (core.histogram, core.equalize_hist, lambda array: save(array, tmp_path / "b.ome.tif")):
            with pytest.raises(OSError, match=r"a\.zarr.* was removed while it was read"):
                work(array)
    assert not list(tmp_path.iterdir())


def fail_at(place, error, often=100):
    failed = Counter()

    def work(at):
        if at == place and failed[at] < often:
            failed[at] += 1
            raise error

    return work


@every_adjustment
@pytest.mark.parametrize("place", [(0, 0, 0), (2, 1, 2)])
def test_a_chunk_that_fails_is_named(adjustment, place, small_tasks):
    array, _ = watched(reference.make_volume("uint16", SHAPE), CHUNKS, fail_at(place, RuntimeError("torn tape")))
    where = r"\[0:1, 0:4, 0:6\]" if place == (0, 0, 0) else r"\[4:6, 4:11, 7:13\]"
    with pytest.raises(OSError, match=rf"The voxels {where} cannot be read: RuntimeError: torn tape") as caught:
        adjustment.fit(array)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert not workers()


def test_an_error_that_does_not_come_again_is_itself(small_tasks):
    array, _ = watched(reference.make_volume("uint16", SHAPE), CHUNKS, fail_at((1, 0, 0), RuntimeError("once"), 1))
    with pytest.raises(RuntimeError, match=r"^once$"):
        Gamma(0.5).fit(array)
    assert not workers()


def test_an_error_of_a_mask_is_itself(small_tasks):
    mask, _ = watched(np.ones(SHAPE, bool), CHUNKS, fail_at((1, 0, 0), RuntimeError("no mask")))
    with pytest.raises(RuntimeError, match=r"^no mask$"):
        Gamma(0.5).fit(da.from_array(reference.make_volume("uint16", SHAPE), chunks=CHUNKS), mask=mask)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_interrupts_go_through(error, small_tasks):
    array, _ = watched(reference.make_volume("uint16", SHAPE), CHUNKS, fail_at((1, 1, 0), error))
    with pytest.raises((error, OSError)) as caught:
        Gamma(0.5).fit(array)
    assert caught.type is error or isinstance(caught.value.__cause__, error)
    assert not workers()


def test_an_error_in_merge_leaves_nothing_behind(small_tasks):
    array, reads = watched(reference.make_volume("uint16", SHAPE), CHUNKS)
    with pytest.raises(ZeroDivisionError):
        volumes.count(Volume(array), lambda *_: 0, lambda part: 1 / part, "dividing")
    assert not workers()
    assert reads


# --- cancel -----------------------------------------------------------------------------


@every_adjustment
def test_a_closed_fit_stops(adjustment, small_tasks):
    volume = reference.make_volume("float32", (80, 5, 5))
    # kernels are loaded, so that the first step is of a chunk
    adjustment.fit(volume)
    array, reads = watched(volume, (1, 5, 5), lambda place: time.sleep(0.05))
    before = 0

    def then():
        nonlocal before
        assert workers()
        before = sum(reads.values())

    assert reference.stopped(lambda: adjustment.fit_volume(Volume(array)), then=then)
    assert not workers()
    # chunks that are being read on dask's threads may come to their end
    time.sleep(0.1)
    number = sum(reads.values())
    assert number <= before + os.cpu_count() + 4
    time.sleep(0.15)
    assert sum(reads.values()) == number


def test_a_fit_that_may_not_read_does_not_begin():
    array, reads = watched(reference.make_volume("uint16", SHAPE), CHUNKS)
    volume = Volume(array, memory=Memory())
    with pytest.raises(progress.MustRead), progress.at_once():
        Gamma(0.5).fit_volume(volume)
    assert not reads
    assert not workers()
    # what is known already needs no reading
    known = Gamma(0.5).fit_volume(volume)
    with progress.at_once():
        again = Gamma(0.7).fit_volume(volume)
    assert (again.fits[()].lo, again.fits[()].hi) == (known.fits[()].lo, known.fits[()].hi)


# --- writing ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["memmap", "zarr"])
@pytest.mark.parametrize("chunked", [False, True], ids=["numpy", "dask"])
def test_arrays_are_written(kind, chunked, tmp_path, small_tasks):
    volume = reference.make_volume("uint16", SHAPE)
    if kind == "memmap":
        target = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.uint16, SHAPE)
    else:
        target = zarr.create_array(tmp_path / "a.zarr", shape=SHAPE, chunks=(2, 4, 5), dtype="u2")
    array, reads = watched(volume, (4, 8, 10))
    steps, _ = reference.heard(lambda: store(array if chunked else volume, target, "writing"))
    assert {step.what for step in steps} == {"writing"}
    assert steps[-1].fraction == 1
    np.testing.assert_array_equal(target[...], volume)
    if chunked:
        assert times(array, reads) == 1
        assert len(steps) == len(reads)


def test_what_cannot_be_written_is_checked_first(monkeypatch):
    array, reads = watched(reference.make_volume("uint16", SHAPE), CHUNKS)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10))
    with pytest.raises(ValueError, match="Use smaller chunks"):
        store(array, np.zeros(SHAPE, np.uint16), "writing")
    assert not reads


def test_a_closed_store_stops():
    volume = reference.make_volume("uint16", (40, 5, 5))
    array, reads = watched(volume, (1, 5, 5), lambda place: time.sleep(0.03))
    assert reference.stopped(lambda: store(array, np.zeros_like(volume), "writing"))
    assert not workers()
    time.sleep(0.1)
    number = sum(reads.values())
    time.sleep(0.15)
    assert sum(reads.values()) == number


def test_nothing_is_written_after_closing(monkeypatch):
    write = lazy._store

    def slow(values, target, place):
        # so that some are still at it when the first one has come to its end
        time.sleep(0.1 * (place[0][0] % 6))
        write(values, target, place)

    monkeypatch.setattr(lazy, "_store", slow)
    target = np.zeros((60, 5, 5), np.uint16)
    array = da.ones((60, 5, 5), chunks=(1, 5, 5), dtype=np.uint16)
    assert reference.stopped(lambda: store(array, target, "writing"))
    written = target.copy()
    time.sleep(0.7)
    np.testing.assert_array_equal(target, written)


# --- a cluster --------------------------------------------------------------------------


@pytest.fixture
def client(local_cluster):
    from distributed import Client

    # not for the whole module: it takes over what dask computes
    with Client(local_cluster) as client:
        client.wait_for_workers(2, timeout=30)
        yield client


def noted(array, chunks, folder, seconds=0.0):
    """A dask array that notes each reading of a chunk as a file named by the process; takes `seconds` for each."""
    folder = str(folder)

    def note(chunk, block_info=None):
        if block_info:
            import os
            import time
            import uuid

            place = "-".join(map(str, block_info[0]["chunk-location"]))
            open(f"{folder}/{place}.{os.getpid()}.{uuid.uuid4().hex}", "w").close()
            time.sleep(seconds)
        return chunk

    found = da.from_array(array, chunks=chunks, name=False)
    return found.map_blocks(note, dtype=array.dtype, meta=np.empty((0,) * array.ndim, array.dtype))


def notes(folder):
    """Readings of each chunk, and the processes that read."""
    names = [path.name.split(".") for path in folder.iterdir()]
    return Counter(name[0] for name in names), {int(name[1]) for name in names}


@every_verb
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_cluster_gives_the_values_of_numpy(verb, dtype, client, small_tasks, tmp_path, monkeypatch):
    monkeypatch.setattr(counting, "FEW", 0)
    volume = reference.make_volume(dtype, (6, 20, 22))
    mask = np.random.default_rng(0).random(volume.shape) < 0.5
    array = noted(volume, ((1, 3, 2), (9, 11), 22), tmp_path)
    result = run(verb, array)
    reads, processes = notes(tmp_path)
    assert len(reads) == 6
    name = {verb: adjustment.short_name for verb, adjustment in zip(ACTIVE, ADJUSTMENTS, strict=True)}[verb]
    # each chunk once a pass, by the workers alone
    if (name, dtype) != ("equalized", "uint16"):
        assert set(reads.values()) == {PASSES[name][dtype]}
    assert processes <= set(client.run(os.getpid).values())
    assert isinstance(result, da.Array)
    same_bits(result.compute(), run(verb, volume))
    other = da.from_array(mask, chunks=(4, 7, 22))
    same_bits(run(verb, array, mask=other, per="plane").compute(), run(verb, volume, mask=mask, per="plane"))


def test_a_cluster_counts(client, small_tasks):
    volume = reference.make_volume("float32", SHAPE)
    array = da.from_array(volume, chunks=CHUNKS)
    same_histogram(histogram(array), histogram(volume))
    assert percentile(array, 40) == percentile(volume, 40)
    # what already lies on the workers
    array = array.persist()
    same_bits(equalize_hist(array).compute(), equalize_hist(volume))


def test_threads_where_dask_is_told_so(client, small_tasks, tmp_path):
    volume = reference.make_volume("uint16", SHAPE)
    with dask.config.set(scheduler="threads"):
        same_bits(adjust_gamma(noted(volume, CHUNKS, tmp_path), 0.5), adjust_gamma(volume, 0.5))
    assert notes(tmp_path)[1] == {os.getpid()}


def test_a_cluster_writes(client, small_tasks, tmp_path):
    volume = reference.make_volume("uint16", SHAPE)
    (tmp_path / "notes").mkdir()
    array = noted(volume, (4, 8, 10), tmp_path / "notes")
    target = zarr.create_array(tmp_path / "a.zarr", shape=SHAPE, chunks=(2, 4, 5), dtype="u2")
    steps, _ = reference.heard(lambda: store(array, target, "writing"))
    assert steps[-1].fraction == 1
    np.testing.assert_array_equal(target[...], volume)
    reads, processes = notes(tmp_path / "notes")
    assert set(reads.values()) == {1}
    assert os.getpid() not in processes
    # memory is of this process alone
    target = np.zeros(SHAPE, np.uint16)
    store(array, target, "writing")
    np.testing.assert_array_equal(target, volume)
    assert os.getpid() in notes(tmp_path / "notes")[1]


def test_a_cluster_names_the_chunk(client, small_tasks):
    def tear(chunk, block_info=None):
        if block_info and block_info[0]["chunk-location"] == (2, 1, 2):
            raise RuntimeError("torn tape")
        return chunk

    array = da.from_array(reference.make_volume("uint16", SHAPE), chunks=CHUNKS)
    array = array.map_blocks(tear, dtype="u2", meta=np.empty((0, 0, 0), "u2"))
    with pytest.raises(OSError, match=r"The voxels \[4:6, 4:11, 7:13\] cannot be read: RuntimeError: torn tape"):
        equalize_hist(array)


def test_a_closed_fit_stops_the_cluster(client, small_tasks, tmp_path):
    volume = reference.make_volume("uint16", (60, 5, 5))
    before = 0

    def then():
        nonlocal before
        before = sum(notes(tmp_path)[0].values())

    # kernels are loaded, so that the first report is of a chunk
    Gamma(0.5).fit(volume)
    array = noted(volume, (1, 5, 5), tmp_path, 0.1)
    assert reference.stopped(lambda: Gamma(0.5).fit_volume(Volume(array)), then=then)
    # each worker may come to the end of one chunk, and take one more until it is told
    time.sleep(0.5)
    number = sum(notes(tmp_path)[0].values())
    assert number <= before + 4
    time.sleep(0.5)
    assert sum(notes(tmp_path)[0].values()) == number
    assert not workers()


@pytest.mark.parametrize("adjustment", [Gamma(0.5), AdaptiveEqualization(5)], ids=["gamma", "adaptive"])
def test_a_worker_killed_in_a_fit(adjustment, client, small_tasks, tmp_path):
    volume = reference.make_volume("float32", (12, 9, 9))
    array = noted(volume, (1, 9, 9), tmp_path, 0.1)
    before = set(client.run(os.getpid).values())
    steps = []

    def listen(step):
        if step.fraction > 0 and not any(each.fraction for each in steps):
            assert len(notes(tmp_path)[0]) < 12
            os.kill(min(before), signal.SIGKILL)
        steps.append(step)

    with progress.listening(listen):
        transform = adjustment.fit_volume(Volume(array))
    expected = adjustment.fit(volume)
    same_bits(transform.apply(volume), expected.apply(volume))
    assert [step.fraction for step in steps] == sorted(step.fraction for step in steps)
    client.wait_for_workers(2, timeout=30)
    assert min(before) not in client.run(os.getpid).values()


def test_a_worker_killed_in_a_computation(client, small_tasks, tmp_path):
    volume = reference.make_volume("uint16", (12, 9, 9))
    result = equalize_adapthist(noted(volume, (1, 9, 9), tmp_path, 0.1), 5)
    for path in tmp_path.iterdir():
        path.unlink()
    victim = min(client.run(os.getpid).values())
    future = client.compute(result)
    until = time.monotonic() + 30
    while len(notes(tmp_path)[0]) < 3 and time.monotonic() < until:
        time.sleep(0.01)
    assert not future.done()
    os.kill(victim, signal.SIGKILL)
    same_bits(future.result(timeout=60), equalize_adapthist(volume, 5))


# --- what is stored is not copied ---


@pytest.mark.parametrize(
    "view",
    [
        lambda mapped: mapped,
        lambda mapped: mapped[3:],
        lambda mapped: mapped[::-1, ::2, 3:],
        lambda mapped: mapped.transpose(2, 0, 1),
        lambda mapped: mapped[:, 4],
    ],
)
@pytest.mark.parametrize("offset", [0, 5, 100_003])
def test_a_memory_map_goes_to_a_worker_as_the_name_of_its_file(tmp_path, view, offset):
    volume = np.random.default_rng(0).integers(0, 60_000, (7, 11, 13)).astype(">u2")
    (tmp_path / "volume.raw").write_bytes(bytes(offset) + volume.tobytes())
    array = view(np.memmap(tmp_path / "volume.raw", ">u2", "r", offset, volume.shape))
    (stored,) = (value for value in dict(lazy.as_dask(array).dask).values() if isinstance(value, lazy._Stored))
    plain = pickle.dumps(stored)
    assert len(plain) < 700
    again = pickle.loads(plain)
    assert again.dtype == array.dtype
    np.testing.assert_array_equal(again[()], view(volume))
    np.testing.assert_array_equal(lazy.as_dask(array).compute(), view(volume))


def test_an_array_in_memory_goes_to_a_worker_whole():
    volume = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    again = pickle.loads(pickle.dumps(lazy._Stored(volume)))
    np.testing.assert_array_equal(again[()], volume)


@pytest.mark.parametrize("kind", ["numpy", "memmap"])
def test_a_lazy_array_is_no_copy(kind, on_disk):
    volume = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    array = volume if kind == "numpy" else on_disk(kind, volume)
    (stored,) = (value for value in dict(lazy.as_dask(array).dask).values() if isinstance(value, lazy._Stored))
    assert stored._array is array
