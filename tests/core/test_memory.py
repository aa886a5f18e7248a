"""What passes find is remembered: a second fit reads nothing, and gives the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_exposure import core
from napari_exposure.core.memory import Memory
from napari_exposure.core.volume import Volume

ADJUSTMENTS = [
    core.Gamma(0.5),
    core.PercentileClip(1, 99),
    core.HistogramEqualization(),
    core.AdaptiveEqualization(6.0),
    core.LocalStretch(6.0),
    core.AdaptiveEqualization(6.0, per="plane", in_range="data"),
    core.AdaptiveEqualization(6.0, per="volume", ignore_zeros=True),
]


class Watched:
    """An array that counts how often it is read."""

    def __init__(self, array):
        self.array, self.reads = array, 0
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim

    def __getitem__(self, index):
        self.reads += 1
        return self.array[index]


@pytest.fixture(params=["uint8", "int16", "float32"])
def volume(request):
    return np.random.default_rng(0).integers(0, 120, (2, 6, 20, 24)).astype(request.param)


@pytest.mark.parametrize("adjustment", ADJUSTMENTS)
def test_a_second_fit_reads_nothing_and_is_the_same(volume, adjustment):
    array = Watched(volume)
    memory = Memory()
    first, second = (
        adjustment.fit_volume(Volume(array, None, adjustment.ignore_zeros, memory=memory)) for _ in range(2)
    )
    reads = array.reads
    third = adjustment.fit_volume(Volume(array, None, adjustment.ignore_zeros, memory=memory))
    assert array.reads == reads
    expected = adjustment.fit(volume).apply(volume)
    for transform in (first, second, third):
        np.testing.assert_array_equal(transform.apply(volume), expected)


def test_a_new_clip_limit_reads_nothing(volume):
    array = Watched(volume)
    memory = Memory()
    core.AdaptiveEqualization(6.0).fit_volume(Volume(array, memory=memory))
    reads = array.reads
    changed = core.AdaptiveEqualization(6.0, clip_limit=0.1)
    found = changed.fit_volume(Volume(array, memory=memory))
    assert array.reads == reads
    np.testing.assert_array_equal(found.apply(volume), changed.fit(volume).apply(volume))


def test_what_is_counted_is_kept_apart(volume):
    volume[:, :, :5] = 0
    memory = Memory()
    for ignore_zeros in (False, True, False):
        adjustment = core.HistogramEqualization(ignore_zeros=ignore_zeros)
        found = adjustment.fit_volume(Volume(volume, None, ignore_zeros, memory=memory))
        np.testing.assert_array_equal(found.apply(volume), adjustment.fit(volume).apply(volume))


def test_a_coarser_array_is_kept_apart(volume):
    memory = Memory()
    for array in (volume, volume[..., ::2, ::2], volume):
        found = core.PercentileClip(5, 95).fit_volume(Volume(array, memory=memory))
        np.testing.assert_array_equal(found.apply(array), core.PercentileClip(5, 95).fit(array).apply(array))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 60)), max_size=40))
def test_memory_stays_within_its_limit_and_keeps_the_latest(puts):
    memory = Memory(limit=100)
    kept = {}
    for key, size in puts:
        memory.put(key, -key, size)
        # a slow model: a dict in the order of use
        if key not in kept:
            kept[key] = size
        while sum(kept.values()) > 100:
            del kept[next(iter(kept))]
        assert memory.size == sum(kept.values()) <= 100
    for key in range(10):
        assert memory.get(key) == (-key if key in kept else None)


def test_a_result_larger_than_the_limit_is_not_kept():
    memory = Memory(limit=10)
    memory.put("a", 1, size=11)
    assert memory.get("a") is None
    assert memory.size == 0


@pytest.mark.parametrize("adjustment", ADJUSTMENTS)
@pytest.mark.parametrize("steps", [(1, 2, 2, 2), (1, 1, 3, 5), (1, 1, 1, 1)])
def test_a_coarser_picture_has_the_values_of_the_full_one(volume, adjustment, steps):
    spatial = 2 if adjustment.per == "plane" else 3
    steps = (1,) * (4 - spatial) + steps[4 - spatial :]
    transform = adjustment.fit(volume)
    taken = tuple(slice(None, None, step) for step in steps)
    coarse = transform.onto(volume.shape, steps)
    np.testing.assert_array_equal(coarse.apply(volume[taken]), transform.apply(volume)[taken])


def test_a_fit_of_a_sample_serves_the_full_volume():
    smooth = np.add.outer(np.arange(32), np.add.outer(np.arange(64), np.arange(64))).astype(np.uint16)
    noisy = smooth + np.random.default_rng(0).integers(0, 5, smooth.shape, dtype=np.uint16)
    exact = core.AdaptiveEqualization(16.0, output="float32", in_range="data")
    sample = exact.fit(noisy[::2, ::2, ::2], spacing=2.0).onto(noisy.shape)
    difference = np.abs(sample.apply(noisy) - exact.fit(noisy).apply(noisy))
    assert difference.mean() < 0.02
    assert sample.shape == noisy.shape
