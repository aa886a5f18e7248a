"""Many small planes: the very numbers of each alone, whichever way they are counted and mapped."""

import pickle
import warnings

import dask.array as da
import numpy as np
import pytest
import zarr

from core import reference
from napari_exposure.core import Adjustment, HistogramEqualization, HistogramMatching, adjust, histogram, stacks
from napari_exposure.core.blocks import Volume
from napari_exposure.core.memory import Memory

SHAPE = (5, 3, 9, 11)
OPTIONS = [
    {},
    {"mask": True},
    {"ignore_zeros": True},
    {"in_range": "dtype"},
    {"output": "float32"},
    {"in_range": (0.5, 99.5)},
]


def make(dtype):
    """Planes with few and many values, constant and without any."""
    volume = reference.make_volume(dtype, SHAPE)
    volume[2, 1] = 7
    volume[3] = volume[3] // 2
    if volume.dtype.kind == "f":
        volume[0, 0, 0, :3] = np.nan, np.inf, -np.inf
        volume[1, 1] = np.nan
    return volume


def adjustments(dtype, **options):
    yield HistogramEqualization(**options)
    yield HistogramEqualization(7, "rank", **options)
    other = histogram(reference.make_volume(dtype, (4, 5), seed=3), 300)
    yield HistogramMatching(other, 300, **options)


def quietly(adjustment, volume, **options):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Histogram .*only one intensity")
        warnings.filterwarnings("ignore", ".*planes have only one")
        return adjust(adjustment, volume, **options)


@pytest.mark.parametrize("dtype", reference.DTYPES)
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "defaults")
def test_each_plane_is_that_of_a_fit_of_its_own(dtype, options, monkeypatch):
    volume = make(dtype)
    options = dict(options)
    mask = np.random.default_rng(0).random(SHAPE) > 0.5 if options.pop("mask", False) else None
    if mask is not None:
        mask[4, 2] = False
    for adjustment in adjustments(dtype, per="plane", **options):
        together = quietly(adjustment, volume, mask=mask)
        with monkeypatch.context() as patch:
            for cls in (Adjustment, HistogramEqualization, HistogramMatching):
                patch.setattr(cls, "_fit_stack", lambda self, volume, lead: None)
            alone = quietly(adjustment, volume, mask=mask)
        np.testing.assert_array_equal(together, alone, err_msg=str(adjustment))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_every_array_gives_the_same_bits(dtype, tmp_path):
    volume = make(dtype)
    stored = zarr.create_array(str(tmp_path / "z"), data=volume, chunks=(2, 2, 4, 11))
    lazy = da.from_array(volume, chunks=((1, 3, 1), (2, 1), (4, 5), (6, 5)))
    for adjustment in adjustments(dtype, per="plane"):
        expected = quietly(adjustment, volume)
        np.testing.assert_array_equal(quietly(adjustment, stored), expected)
        np.testing.assert_array_equal(quietly(adjustment, lazy), expected)
        np.testing.assert_array_equal(quietly(adjustment, volume.astype(volume.dtype.newbyteorder())), expected)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_blocks_that_cut_planes(dtype, small_blocks):
    volume = make(dtype)
    for adjustment in adjustments(dtype, per="plane"):
        expected = [quietly(adjustment, plane) if np.isfinite(plane).any() else plane for plane in volume[:, 1]]
        np.testing.assert_array_equal(quietly(adjustment, volume)[:, 1], expected)


def test_large_planes_and_many_bins_are_fitted_one_by_one(monkeypatch):
    volume = make("float32")
    expected = quietly(HistogramEqualization(per="plane"), volume)
    for name in ("SMALL", "MOST"):
        with monkeypatch.context() as patch:
            patch.setattr(stacks, name, 1)
            np.testing.assert_array_equal(quietly(HistogramEqualization(per="plane"), volume), expected)


def test_colours():
    volume = reference.make_volume("uint8", (6, 7, 8, 3))
    result = adjust(HistogramEqualization(per="plane"), volume, rgb=True)
    for plane, expected in zip(volume, result, strict=True):
        np.testing.assert_array_equal(adjust(HistogramEqualization(), plane, rgb=True), expected)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_transform_of_many_fits_is_picklable_and_maps_any_block(dtype):
    volume = make(dtype)
    for adjustment in adjustments(dtype, per="plane"):
        expected = quietly(adjustment, volume)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            transform = pickle.loads(pickle.dumps(adjustment.fit(volume)))
        np.testing.assert_array_equal(transform(volume[1:4, :2, 2:5], (1, 0, 2, 0)), expected[1:4, :2, 2:5])
        np.testing.assert_array_equal(transform(volume[2:3, 1:2], (2, 1, 0, 0)), expected[2:3, 1:2])


def test_what_is_remembered_is_not_counted_again():
    reads = []

    class Noted:
        shape, dtype = SHAPE, np.dtype("uint8")

        def __getitem__(self, index):
            reads.append(index)
            return make("uint8")[index]

    volume = Volume(Noted(), memory=Memory())
    for method in ("cdf", "rank"):
        HistogramEqualization(method=method, per="plane").fit_volume(volume)
    assert len(reads) == 2


def test_values_too_far_apart():
    volume = np.array([[[-1.7e308, 1.7e308]], [[0, 1]]])
    with pytest.raises(ValueError, match="in_range"):
        adjust(HistogramEqualization(per="plane"), volume)
