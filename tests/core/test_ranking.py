"""Ranks of all voxels are those of NumPy's sort, however the volume is divided for it."""

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_exposure.core import equalize_hist, pointwise, progress, ranking
from napari_exposure.core.ranking import rank_voxels, sort_voxels
from napari_exposure.core.volume import Volume


@pytest.fixture(params=[1 << 16, 50, 3])
def parts(request, monkeypatch):
    """Divide volumes of the tests, and the levels of their fits, into one part, several, and many."""
    monkeypatch.setattr(ranking, "PART", request.param)
    monkeypatch.setattr(pointwise, "PART_LEVELS", request.param)


def check(volume, lo, hi, mask=None):
    """Compare both functions with sorting all counted voxels."""
    values = volume[~np.isnan(volume) & (True if mask is None else mask)]
    ends = lo, hi
    if volume.dtype.kind in "iu":
        limits = np.iinfo(volume.dtype)
        ends = np.clip((np.floor(lo), np.ceil(hi)), limits.min, limits.max)
    ordered = np.sort(np.clip(values.astype(np.float64), *ends)).astype(volume.dtype) + volume.dtype.type(0)
    np.testing.assert_array_equal(sort_voxels(Volume(volume, mask), lo, hi), ordered)
    levels, heights, number = rank_voxels(Volume(volume, mask), lo, hi)
    expected, starts = np.unique(ordered, return_index=True)
    assert number == values.size
    np.testing.assert_array_equal(levels, expected)
    np.testing.assert_array_equal(heights, starts / max(1, starts[-1:].sum()))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint32", "int64"])
@pytest.mark.parametrize("kind", ["even", "very skewed", "hot", "few", "mostly alike", "constant", "a step"])
def test_ranks_of_volumes(dtype, kind, parts):
    rng = np.random.default_rng(0)
    even = rng.random((6, 30, 31))
    volume = {
        "even": even,
        "very skewed": np.exp2(-25 * even),
        "hot": np.where(even > 0.999, 1e5, even),
        "few": np.floor(5 * even),
        "mostly alike": np.where(even > 0.9, even, 0),
        "constant": np.full_like(even, 3),
        "a step": even + np.repeat([0, 1000], 3)[:, None, None],
    }[kind]
    volume = (1000 * volume).astype(dtype)
    lo, hi = float(volume.min()), float(volume.max())
    for low, high in ((lo, hi), (lo - 5, hi + 5), (lo + (hi - lo) / 3.7, hi - (hi - lo) / 2.3)):
        check(volume, low, high)
        check(volume, low, high, rng.random(volume.shape) > 0.7)


@given(
    hnp.arrays(
        "float32",
        st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 9)),
        elements=st.floats(width=32) | st.sampled_from([0.0, -0.0, 1e-45, -1e-45, 1.0, np.nan, np.inf, -np.inf]),
    )
)
def test_ranks_of_any_floats(volume):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "PART", 4)
        check(volume, -1e30, 1e30)
        check(volume, -1e-45, 0.0)


@pytest.mark.parametrize("dtype", ["float32", ">f8", "int32"])
@pytest.mark.parametrize("shape", [1, 0.03])
def test_ranks_are_the_same_in_any_chunks_and_on_any_array(dtype, shape, parts):
    # Values of the second kind lie over many powers of two.
    volume = (1000 * np.random.default_rng(0).gamma(shape, 1, (7, 30, 31))).astype(dtype)
    volume.flags.writeable = False
    ordered = np.sort(volume, axis=None)
    expected = (ordered.searchsorted(volume) / ordered.searchsorted(ordered[-1])).astype(np.float32)
    for array in (volume, volume.copy(order="F"), da.from_array(volume, chunks=(3, 30, 7))):
        found = np.asarray(equalize_hist(array, method="rank", output="float32"))
        np.testing.assert_array_equal(found, expected)


def test_ranking_may_be_stopped_in_each_of_its_parts(monkeypatch):
    monkeypatch.setattr(ranking, "PART", 50)
    volume = Volume(np.random.default_rng(0).random((7, 30, 31)).astype("float32"))
    heard = []
    with progress.listening(heard.append):
        rank_voxels(volume, 0.0, 1.0)
    fractions = [step.fraction for step in heard]
    assert fractions == sorted(fractions)
    assert len(fractions) > 7 * 30 * 31 / 50

    def stop(step):
        if step.fraction > 0.8:
            raise progress.Cancelled

    with pytest.raises(progress.Cancelled), progress.listening(stop):
        rank_voxels(volume, 0.0, 1.0)
