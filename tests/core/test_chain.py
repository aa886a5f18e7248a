"""Chains: the bits of the verbs one after the other, without a volume between them."""

import itertools
import pickle
import re
import warnings

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from core import reference
from napari_exposure.core import (
    AdaptiveEqualization,
    DecayCorrection,
    Gamma,
    HistogramEqualization,
    HistogramMatching,
    LocalStretch,
    PercentileClip,
    Percentiles,
    adjust,
    histogram,
    progress,
)
from napari_exposure.core.chain import FittedRecipe, check_chain, fit_chain
from napari_exposure.core.memory import Memory
from napari_exposure.core.volume import Volume

SHAPE = (5, 12, 14)
SPACING = (2.0, 0.5, 0.5)

OTHER = histogram(reference.make_volume("uint8", SHAPE, seed=7))
KINDS = {
    "gamma": lambda **o: Gamma(0.6, **o),
    "gamma of a range": lambda **o: Gamma(1.8, in_range=(20.0, 200.0), **o),
    "clip": lambda **o: PercentileClip(3, 96, **o),
    "equalize": lambda **o: HistogramEqualization(**o),
    "rank": lambda **o: HistogramEqualization(method="rank", **o),
    "adaptive": lambda **o: AdaptiveEqualization(3.0, 0.1, 32, **o),
    "adaptive of a range": lambda **o: AdaptiveEqualization(2.5, in_range=Percentiles(1, 99), **o),
    "stretch": lambda **o: LocalStretch(3.0, 2, 95, **o),
    "depth": lambda **o: DecayCorrection("y", "plane", **o),
    "match": lambda **o: HistogramMatching(OTHER, output="float32", **{k: v for k, v in o.items() if k != "output"}),
}


def in_turn(steps, volume, **options):
    """The verbs one after the other."""
    for step in steps:
        volume = adjust(step, volume, **options)
    return volume


def chained(steps, volume, array=None, **options):
    """The chain, fitted on a volume and applied to the same one, perhaps stored as `array`."""
    spacing = options.pop("spacing", None)
    array = volume if array is None else array
    fitted = FittedRecipe(fit_chain(steps, Volume(array, **options), spacing))
    return fitted.apply(array)


def same_bits(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes()


@pytest.fixture(autouse=True)
def quietly():
    with warnings.catch_warnings():
        # small volumes, and planes of one intensity
        warnings.simplefilter("ignore")
        yield


steps_of = st.lists(
    st.builds(
        lambda kind, **options: KINDS[kind](**options),
        st.sampled_from(sorted(KINDS)),
        output=st.sampled_from(["dtype", "float32"]),
        ignore_zeros=st.booleans(),
        per=st.sampled_from(["dataset", "volume", "plane"]),
    ),
    min_size=2,
    max_size=4,
)


@settings(max_examples=30)
@given(
    steps=steps_of,
    dtype=st.sampled_from(reference.DTYPES),
    lead=st.sampled_from([(), (2,)]),
    masked=st.booleans(),
    seed=st.integers(0, 9),
)
def test_a_chain_has_the_bits_of_the_verbs_in_turn(steps, dtype, lead, masked, seed):
    volume = reference.make_volume(dtype, lead + SHAPE, seed)
    mask = np.random.default_rng(seed).random(volume.shape) < 0.8 if masked else None
    try:
        expected = in_turn(steps, volume, spacing=SPACING, mask=mask)
    except ValueError as error:
        # what the verbs refuse, such as an axis y of planes, the chain refuses too
        with pytest.raises(ValueError, match=re.escape(str(error))):
            chained(steps, volume, spacing=SPACING, mask=mask)
        return
    same_bits(chained(steps, volume, spacing=SPACING, mask=mask), expected)
    chunked = da.from_array(volume, chunks=(*(1,) * len(lead), 2, 5, 9))
    found = chained(steps, volume, chunked, spacing=SPACING, mask=mask)
    assert isinstance(found, da.Array)
    same_bits(found, expected)


@pytest.mark.parametrize("names", [("clip", "gamma", "adaptive"), ("depth", "adaptive", "equalize")])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_colors_keep_together_through_all_steps(names, dtype):
    volume = reference.make_volume(dtype, (*SHAPE, 3))
    volume = np.abs(volume) / np.abs(volume).max() if dtype == "float32" else volume
    steps = [KINDS[name]() for name in names]
    same_bits(chained(steps, volume, spacing=SPACING, rgb=True), in_turn(steps, volume, spacing=SPACING, rgb=True))


@pytest.mark.parametrize("names", list(itertools.permutations(["clip", "depth", "adaptive"])))
def test_blocks_of_any_place_and_other_arrays(names, tmp_path, small_blocks):
    volume = reference.make_volume("uint16", SHAPE)
    steps = [KINDS[name]() for name in names]
    expected = in_turn(steps, volume, spacing=SPACING)
    stored = zarr.create_array(tmp_path / "a.zarr", shape=SHAPE, chunks=(2, 5, 6), dtype=">u2")
    stored[...] = volume
    same_bits(chained(steps, volume, stored, spacing=SPACING), expected)
    fitted = pickle.loads(pickle.dumps(FittedRecipe(fit_chain(steps, Volume(volume), SPACING))))
    assert (fitted.shape, fitted.dtype, fitted.out_dtype) == (SHAPE, np.uint16, np.uint16)
    for block in ((slice(1, 4), slice(3, 11), slice(2, 3)), (slice(4, 5), slice(0, 12), slice(5, 14))):
        same_bits(fitted(volume[block], [part.start for part in block]), expected[block])
    out = np.empty(SHAPE, np.uint16)
    assert fitted(volume, out=out) is out
    same_bits(out, expected)


def test_a_chain_on_other_levels_and_coarser_grids():
    volume = reference.make_volume("uint16", (6, 24, 28))
    fitted = FittedRecipe(fit_chain([KINDS["clip"](), KINDS["adaptive"]()], Volume(volume), SPACING))
    level = volume[:, ::2, ::2]
    expected = level
    for transform in fitted.transforms:
        expected = transform.at_level(level.shape).apply(expected)
    same_bits(fitted.at_level(level.shape).apply(level), expected)
    coarse = fitted.onto(volume.shape, (1, 3, 2))
    same_bits(coarse.apply(volume[:, ::3, ::2]), fitted.apply(volume)[:, ::3, ::2])


def test_other_volumes_get_the_same_mapping_where_places_do_not_matter():
    volume, other = reference.make_volume("uint16", SHAPE), reference.make_volume("uint16", (3, 7, 9), 1)
    fitted = FittedRecipe(fit_chain([KINDS["clip"](), KINDS["equalize"]()], Volume(volume), SPACING))
    expected = other
    for transform in fitted.transforms:
        expected = transform.onto(other.shape).apply(expected)
    same_bits(fitted.apply(other), expected)
    tiled = FittedRecipe(fit_chain([KINDS["clip"](), KINDS["adaptive"]()], Volume(volume), SPACING))
    with pytest.raises(ValueError, match="its tiles lie where they were fitted"):
        tiled.apply(other)
    with pytest.raises(TypeError, match="fitted on uint16, this volume is uint8"):
        tiled.apply(other.astype(np.uint8))


class Counted:
    """An array that notes how many voxels were read of it."""

    def __init__(self, volume):
        self.volume, self.shape, self.dtype, self.voxels = volume, volume.shape, volume.dtype, 0

    def __getitem__(self, index):
        part = self.volume[index]
        self.voxels += part.size
        return part


def test_tables_in_a_row_read_the_source_once():
    array = Counted(reference.make_volume("uint16", SHAPE))
    steps = [KINDS["clip"](), KINDS["gamma"](), KINDS["equalize"](), KINDS["clip"]()]
    fit_chain(steps, Volume(array))
    assert array.voxels == array.volume.size


def test_a_later_step_that_changes_leaves_what_was_found_before():
    array = Counted(reference.make_volume("float32", SHAPE))
    volume = Volume(array, memory=Memory())
    first = fit_chain([KINDS["depth"](), KINDS["clip"](), KINDS["adaptive"]()], volume, SPACING)
    array.voxels = 0
    second = fit_chain([KINDS["depth"](), KINDS["clip"](), AdaptiveEqualization(3.0, 0.3, 32)], volume, SPACING)
    assert array.voxels == 0
    assert first[0] is second[0]
    # and another first step has nothing to do with what was counted through the old one
    steps = [KINDS["gamma"](), KINDS["clip"](), KINDS["adaptive"]()]
    found = FittedRecipe(fit_chain(steps, volume, SPACING)).apply(array.volume)
    same_bits(found, in_turn(steps, array.volume, spacing=SPACING))


def test_what_a_later_step_cannot_take_is_said_before_anything_is_read():
    array = Counted(np.broadcast_to(np.float32(1), (40, 50, 60)))
    tiny = AdaptiveEqualization(1e-3, nbins=65536)
    with pytest.raises(ValueError, match="Choose a larger kernel_size"):
        check_chain([KINDS["clip"](), tiny], Volume(array), (2e3, 5e2, 5e2))
    # the first step makes floats of integers, so that the reference fits
    bytes_ = Volume(Counted(reference.make_volume("uint8", SHAPE)))
    deep = HistogramMatching(histogram(reference.make_volume("float32", SHAPE)))
    with pytest.raises(ValueError, match="which uint8 cannot hold"):
        check_chain([KINDS["gamma"](), deep], bytes_)
    check_chain([KINDS["gamma"](output="float32"), deep], bytes_)
    assert array.voxels == bytes_.array.voxels == 0


def test_progress_of_a_chain_never_runs_back_and_can_be_stopped(small_blocks):
    volume = reference.make_volume("uint16", (4, 9, 10))
    steps = [KINDS["depth"](), KINDS["clip"](), KINDS["adaptive"]()]

    def work():
        with progress.part(0, 0.5):
            fitted = FittedRecipe(fit_chain(steps, Volume(volume), SPACING))
        with progress.part(0.5, 1):
            return fitted.apply(volume)

    reports, _ = reference.heard(work)
    fractions = [step.fraction for step in reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)
    assert reference.stopped(work, 3)
