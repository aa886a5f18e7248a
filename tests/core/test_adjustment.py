import dataclasses
import inspect
import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import napari_exposure.core as core
from core import reference
from napari_exposure.core import (
    AdaptiveEqualization,
    Adjustment,
    Decay,
    DecayCorrection,
    Fill,
    Gamma,
    HistogramEqualization,
    Linear,
    LocalStretch,
    Log,
    PercentileClip,
    Percentiles,
    Rescale,
    Sigmoid,
    ToneCurve,
    adjust,
)
from napari_exposure.core import adjustment as module

FUNCTIONS = {
    Gamma: core.adjust_gamma,
    Log: core.adjust_log,
    Sigmoid: core.adjust_sigmoid,
    ToneCurve: core.adjust_curve,
    Rescale: core.rescale_intensity,
    Fill: core.fill,
    PercentileClip: core.clip_percentiles,
    HistogramEqualization: core.equalize_hist,
    AdaptiveEqualization: core.equalize_adapthist,
    LocalStretch: core.stretch_local,
    DecayCorrection: core.correct_decay,
    Decay: core.degrade,
    Linear: core.adjust_linear,
}
# every way of mapping: table, power, knots, steps, tiles of either kind
ADJUSTMENTS = [
    Gamma(0.45),
    PercentileClip(3, 94),
    HistogramEqualization(),
    HistogramEqualization(method="rank"),
    AdaptiveEqualization(5),
    LocalStretch(5),
]


def short_name(adjustment):
    return adjustment.short_name


every_adjustment = pytest.mark.parametrize("adjustment", ADJUSTMENTS, ids=short_name)

# --- plain data -------------------------------------------------------------------------

_ranges = st.one_of(
    st.sampled_from(["data", "dtype"]),
    st.tuples(st.floats(-1e9, 1e9), st.floats(1e-3, 1e9)).map(lambda r: (r[0], r[0] + r[1])),
    st.tuples(st.floats(0, 49), st.floats(50, 100)).map(lambda r: Percentiles(*r)),
)
_shared = {
    "in_range": _ranges,
    "output": st.sampled_from(["dtype", "float32"]),
    "ignore_zeros": st.booleans(),
    "per": st.sampled_from(["dataset", "volume", "plane"]),
}
_edges = st.floats(1e-3, 1e3)
adjustments = st.one_of(
    st.builds(Gamma, st.floats(0.01, 10), st.floats(0.01, 10), **_shared),
    st.builds(PercentileClip, st.floats(0, 49), st.floats(50, 100), **_shared),
    st.builds(HistogramEqualization, st.integers(2, 65536), st.sampled_from(["cdf", "rank"]), **_shared),
    st.builds(
        AdaptiveEqualization,
        st.one_of(st.none(), _edges, st.tuples(_edges, _edges), st.tuples(_edges, _edges, _edges)),
        st.floats(0, 1),
        st.integers(2, 65536),
        **_shared,
    ),
    st.builds(LocalStretch, _edges, st.floats(0, 49), st.floats(50, 100), st.floats(1, 1e6), **_shared),
)


@given(adjustments)
def test_to_plain_data_and_back(adjustment):
    plain = adjustment.to_dict()
    assert Adjustment.from_dict(plain) == adjustment
    # also through JSON, which has lists for tuples
    again = Adjustment.from_dict(json.loads(json.dumps(plain)))
    assert again == adjustment
    assert hash(again) == hash(adjustment)
    assert type(again) is type(adjustment)


def test_plain_data_say_what_they_are():
    assert AdaptiveEqualization((4, 5, 6), per="plane").to_dict() == {
        "adjustment": "AdaptiveEqualization",
        "kernel_size": [4.0, 5.0, 6.0],
        "clip_limit": 0.01,
        "nbins": 256,
        "in_range": {"percentiles": [0.05, 99.95]},
        "output": "dtype",
        "ignore_zeros": False,
        "per": "plane",
        "window": 1,
    }


def test_from_dict_leaves_its_argument_alone():
    plain = Gamma(0.5, in_range=(1, 2)).to_dict()
    before = json.dumps(plain)
    Adjustment.from_dict(plain)
    assert json.dumps(plain) == before


def test_parameters_that_are_left_out_have_their_defaults():
    assert Adjustment.from_dict({"adjustment": "PercentileClip", "low": 2}) == PercentileClip(2)


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"adjustment": "Sharpen"}, "Sharpen"),
        ({"adjustment": "Adjustment"}, "Unknown adjustment"),
        ({"gamma": 2}, "Unknown adjustment"),
        ({}, "Unknown adjustment"),
        ({"adjustment": "Gamma", "gama": 2}, "gama"),
        ({"adjustment": "Gamma", "kernel_size": 2}, "kernel_size"),
        ({"adjustment": "Gamma", "gamma": -2}, "gamma"),
        ({"adjustment": "PercentileClip", "low": 60, "high": 40}, "low"),
        ({"adjustment": "Gamma", "per": "channel"}, "per"),
        ({"adjustment": "Gamma", "in_range": {"percentiles": [90, 10]}}, "low"),
    ],
)
def test_plain_data_that_are_not_known_or_not_valid(plain, message):
    with pytest.raises(ValueError, match=message):
        Adjustment.from_dict(plain)


# --- equality, immutability -------------------------------------------------------------


def test_equal_parameters_are_equal():
    assert AdaptiveEqualization([4, 5, 6]) == AdaptiveEqualization((4.0, 5.0, 6.0))
    assert Gamma(1, in_range=[0, 5]) == Gamma(1.0, in_range=(0.0, 5.0))
    assert Gamma(0.5) != Gamma(0.6)
    assert HistogramEqualization() != PercentileClip()
    assert len({Gamma(0.5), Gamma(0.5, 1.0), Gamma(0.5, in_range="dtype")}) == 2


@every_adjustment
def test_parameters_cannot_be_changed(adjustment):
    name = dataclasses.fields(adjustment)[-1].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(adjustment, name, 1)


def test_replace_checks_again():
    assert dataclasses.replace(Gamma(0.5), gamma=2).gamma == 2
    with pytest.raises(ValueError, match="gamma"):
        dataclasses.replace(Gamma(0.5), gamma=-2)


@pytest.mark.parametrize("cls", FUNCTIONS, ids=lambda cls: cls.__name__)
def test_function_and_class_have_the_same_parameters_and_defaults(cls):
    signature = inspect.signature(FUNCTIONS[cls]).parameters
    fields = {field.name: field.default for field in dataclasses.fields(cls)}
    of_function = {name: parameter.default for name, parameter in signature.items() if name in fields}
    assert of_function == fields
    others = set(signature) - set(fields)
    assert others == {"image", "mask", "rgb", "level"} | ({"spacing"} if cls.needs_spacing else set())
    assert signature["mask"].default is None
    assert signature["rgb"].default is None


@pytest.mark.filterwarnings("ignore:Depth correction. nothing is corrected")
@pytest.mark.parametrize("cls", FUNCTIONS, ids=lambda cls: cls.__name__)
def test_function_and_class_do_the_same(cls):
    volume = reference.make_volume("uint16", (5, 20, 21))
    mask = volume > np.median(volume)
    options = {"output": "float32", "ignore_zeros": True, "in_range": Percentiles(5, 95), "per": "plane"}
    if cls in (DecayCorrection, Decay):
        # a plane has no other
        options["axis"] = "x"
    np.testing.assert_array_equal(FUNCTIONS[cls](volume), adjust(cls(), volume))
    np.testing.assert_array_equal(
        FUNCTIONS[cls](volume, mask=mask, **options), cls(**options).fit(volume, mask=mask).apply(volume)
    )


def test_every_field_says_what_a_widget_shows():
    for cls in FUNCTIONS:
        assert cls.title
        assert cls.short_name
        for field in dataclasses.fields(cls):
            assert field.metadata["label"], field.name
            assert field.metadata["tooltip"].endswith("."), field.name
            if isinstance(field.default, float | int) and not isinstance(field.default, bool):
                least, most = (
                    field.metadata.get(a, field.metadata.get(b)) for a, b in (("min", "low"), ("max", "high"))
                )
                assert least <= field.default <= most
            if "choices" in field.metadata:
                assert field.default in field.metadata["choices"]


# --- fit and transform ------------------------------------------------------------------

SHAPE = (7, 11, 37)


def _fitted(dtype, per, shape=SHAPE):
    volume = reference.make_volume(dtype, shape)
    if volume.dtype.kind == "f":
        volume.reshape(-1)[::53] = np.nan
        volume.reshape(-1)[::97] = np.inf
    result = []
    for adjustment in ADJUSTMENTS:
        transform = dataclasses.replace(adjustment, per=per).fit(volume)
        result.append((transform, transform.apply(volume)))
    return volume, result


@pytest.fixture(scope="module", params=[("uint16", "dataset"), ("float32", "dataset"), ("int32", "plane")])
def fitted(request):
    """A volume, and of all adjustments the transform and its result on the whole."""
    return _fitted(*request.param)


@pytest.fixture(scope="module")
def fitted_5d():
    return _fitted("uint16", "volume", (2, 3, 4, 9, 10))


def cuts(shape):
    return st.tuples(
        *(st.integers(0, n - 1).flatmap(lambda a, n=n: st.tuples(st.just(a), st.integers(a + 1, n))) for n in shape)
    )


def dressed(block, how):
    """The same values in another memory layout."""
    if how == "strided":
        spread = np.zeros(tuple(2 * n for n in block.shape), block.dtype)
        view = spread[tuple(slice(None, None, 2) for _ in block.shape)]
        view[...] = block
        return view
    if how == "fortran":
        return np.asfortranarray(block)
    if how == "read-only":
        block = block.copy()
        block.flags.writeable = False
        return block
    if how == "other byte order":
        return block.astype(block.dtype.newbyteorder())
    return block


def assert_block_is_part_of_whole(volume, results, cut, how):
    part = tuple(slice(a, b) for a, b in cut)
    block = dressed(volume[part], how)
    before = block.tobytes()
    for transform, whole in results:
        found = transform(block, tuple(a for a, _ in cut))
        assert found.dtype == whole.dtype
        # bit by bit, NaN too
        assert found.tobytes() == whole[part].tobytes(), transform.adjustment
    assert block.tobytes() == before


LAYOUTS = st.sampled_from(["view of whole", "strided", "fortran", "read-only", "other byte order"])


@given(cut=cuts(SHAPE), how=LAYOUTS)
def test_a_block_gives_the_values_of_the_whole(fitted, cut, how):
    assert_block_is_part_of_whole(*fitted, cut, how)


@settings(max_examples=40)
@given(cut=cuts((2, 3, 4, 9, 10)), how=LAYOUTS)
def test_a_block_of_5_axes_gives_the_values_of_the_whole(fitted_5d, cut, how):
    assert_block_is_part_of_whole(*fitted_5d, cut, how)


def test_a_colour_block_gives_the_values_of_the_whole():
    volume = np.random.default_rng(0).integers(0, 256, (5, 8, 9, 4)).astype(np.uint8)
    for adjustment in ADJUSTMENTS:
        transform = adjustment.fit(volume, rgb=True)
        whole = transform.apply(volume)
        np.testing.assert_array_equal(transform(volume[1:4, 2:5, 3:], (1, 2, 3)), whole[1:4, 2:5, 3:])


def test_no_offset_is_the_origin(fitted):
    volume, results = fitted
    for transform, whole in results:
        np.testing.assert_array_equal(transform(volume[:3, :4, :5]), whole[:3, :4, :5])


def test_results_go_where_one_wants_them(fitted):
    volume, results = fitted
    for transform, whole in results:
        out = np.zeros((2, *SHAPE[1:]), transform.out_dtype)
        assert transform(volume[3:5], (3, 0, 0), out) is out
        np.testing.assert_array_equal(out, whole[3:5])


def test_a_wrong_place_for_results_is_refused(fitted):
    # a kernel would write beyond it, or to a copy that nobody sees
    volume, results = fitted
    for transform, _ in results:
        dtype = transform.out_dtype
        for out in (
            np.zeros((2, 11, 40), dtype),
            np.zeros((11, 2, 37), dtype),
            np.zeros((2, 11, 74), dtype)[:, :, ::2],
            np.zeros((2, 22, 37), dtype)[:, ::2],
            np.zeros((2, 11, 37), np.float64),
        ):
            with pytest.raises((TypeError, ValueError), match=r"\bout\b"):
                transform(volume[:2], (0, 0, 0), out)


def test_a_transform_maps_volumes_of_other_shapes_unless_it_is_one_of_places():
    volume = reference.make_volume("uint16", (6, 9, 10))
    clip = PercentileClip(1, 99).fit(volume)
    np.testing.assert_array_equal(clip.apply(volume[:4, 2:]), clip.apply(volume)[:4, 2:])
    with pytest.raises(ValueError, match="was fitted on shape"):
        AdaptiveEqualization(4).fit(volume).apply(volume[:4])
    with pytest.raises(TypeError, match="was fitted on uint16"):
        clip.apply(volume.astype(np.float32))


@pytest.mark.parametrize("adjustment", [Gamma(0.5), HistogramEqualization()], ids=short_name)
def test_colors_below_0_are_no_light(adjustment):
    colors = np.random.default_rng(0).random((3, 12, 14, 3), np.float32)
    colors[0, 0, 0] = -0.25, 1e-6, -1e-9
    colors[1] -= 0.5
    result = adjust(adjustment, colors, rgb=True)
    assert -1 <= result.min() <= result.max() <= 1
    lit = colors.max(axis=-1) > 0
    dark = (colors <= 0) & lit[..., None]
    assert not result[dark].any()


@pytest.mark.parametrize("shape", [(0, 4, 5), (3, 0, 5), (3, 4, 0)])
def test_an_empty_block_gives_an_empty_result(fitted, shape):
    # dask asks so for the dtype of a result
    volume, results = fitted
    for transform, _ in results:
        found = transform(np.empty(shape, volume.dtype), (1, 1, 1))
        assert found.shape == shape
        assert found.dtype == transform.out_dtype


def test_a_transform_survives_pickling(fitted):
    volume, results = fitted
    for transform, whole in results:
        again = pickle.loads(pickle.dumps(transform))
        assert again.adjustment == transform.adjustment
        assert again.shape == transform.shape
        np.testing.assert_array_equal(again.apply(volume), whole)


def test_a_pickled_transform_is_independent_of_the_volume():
    volume = np.random.default_rng(0).integers(0, 4096, (40, 128, 128)).astype(np.uint16)
    for adjustment in (*ADJUSTMENTS[:4], AdaptiveEqualization(32, nbins=64)):
        assert len(pickle.dumps(adjustment.fit(volume))) < volume.nbytes / 10


@every_adjustment
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_transform_fitted_on_one_volume_applies_to_another(adjustment, dtype):
    volume = reference.make_volume(dtype) // 2 + np.dtype(dtype).type(100)
    transform = adjustment.fit(volume)
    # half of it far below the fitted range
    other = np.where(volume > np.median(volume), volume, 0).astype(dtype)
    result = transform.apply(other)
    same = other == volume
    np.testing.assert_array_equal(result[same], transform.apply(volume)[same])
    assert (result[~same] == result.min()).all()


@every_adjustment
def test_blocks_that_do_not_fit(adjustment):
    volume = reference.make_volume("uint16")
    transform = adjustment.fit(volume)
    for block in (volume.astype(np.int16), volume.astype(np.float32), volume.astype(np.uint8)):
        with pytest.raises(TypeError, match=f"uint16.*{block.dtype}"):
            transform(block)
    for block, offset in (
        (volume, (1, 0, 0)),
        (volume[:2], (5, 0, 0)),
        (volume[:2], (-1, 0, 0)),
        (volume[0], None),
        (volume[0], (0, 0)),
        (volume, (0, 0)),
        (volume[None], (0, 0, 0, 0)),
    ):
        with pytest.raises(ValueError, match=r"shape .*\(6, 11, 13\)"):
            transform(block, offset)
    with pytest.raises(TypeError, match="fitted on uint16"):
        transform.apply(volume.astype(np.float32))


# --- who shares a fit -------------------------------------------------------------------


@every_adjustment
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_per_volume_and_per_plane_equal_each_alone(adjustment, dtype):
    volume = reference.make_volume(dtype, (2, 3, 9, 10))
    volume[1] //= 2
    per_volume = dataclasses.replace(adjustment, per="volume")
    per_plane = dataclasses.replace(adjustment, per="plane")
    volumes, planes = adjust(per_volume, volume), adjust(per_plane, volume)
    for t in range(2):
        np.testing.assert_array_equal(volumes[t], adjust(adjustment, volume[t]))
        for z in range(3):
            np.testing.assert_array_equal(planes[t, z], adjust(adjustment, volume[t, z]))
    shared = adjust(adjustment, volume)
    assert not np.array_equal(shared, volumes)
    assert not np.array_equal(volumes, planes)


@pytest.mark.parametrize("adjustment", ADJUSTMENTS[:4], ids=short_name)
def test_per_dataset_shares_one_curve(adjustment):
    volume = reference.make_volume("uint16", (2, 3, 9, 10))
    result = adjust(adjustment, volume)
    # the same intensity gives the same result at every time point: as if all were one plane
    np.testing.assert_array_equal(result.reshape(6, 90), adjust(adjustment, volume.reshape(6, 90)))


def test_per_dataset_shares_tiles_over_time():
    volume = reference.make_volume("uint16", (2, 3, 9, 10))
    transform = AdaptiveEqualization(5).fit(volume)
    still = np.broadcast_to(volume[:1], volume.shape)
    result = transform(still)
    np.testing.assert_array_equal(result[0], result[1])


# --- progress ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize(
    "adjustment", [*ADJUSTMENTS, PercentileClip(in_range=Percentiles(1, 99), per="volume")], ids=short_name
)
def test_progress_never_runs_back(adjustment, dtype, small_blocks):
    volume = reference.make_volume(dtype, (2, 3, 9, 10))
    steps, result = reference.heard(lambda: adjust(adjustment, volume))
    assert all(step.what for step in steps)
    fractions = [step.fraction for step in steps]
    # volumes that are fitted at the same time report between each other
    assert len(fractions) > 5
    assert fractions == sorted(fractions)
    assert fractions[0] >= 0
    assert fractions[-1] == pytest.approx(1)
    assert result.shape == volume.shape


@pytest.mark.parametrize(
    "plain",
    [
        {"adjustment": "Gamma", "gamma": "a"},
        {"adjustment": "Gamma", "in_range": {"percentiles": [1]}},
        {"adjustment": "Gamma", "in_range": {"percentiles": ["a", 1]}},
        {"adjustment": "Gamma", "output": ["dtype"]},
        {"adjustment": ["Gamma"]},
        {"adjustment": "AdaptiveEqualization", "nbins": 2.7},
    ],
)
def test_plain_data_of_the_wrong_kind_are_a_value_error(plain):
    with pytest.raises(ValueError, match=r"Gamma|AdaptiveEqualization"):
        Adjustment.from_dict(plain)


@pytest.mark.parametrize("plain", [{"low": 1, "high": 99}, {"percentile": [1, 99]}, {}], ids=str)
def test_plain_data_of_a_wrong_shape_are_told_of_their_parameter(plain):
    for kind in module.adjustments():
        needed = {
            each.name: each.metadata["example"] for each in dataclasses.fields(kind) if "example" in each.metadata
        }
        for field in dataclasses.fields(kind):
            with pytest.raises(ValueError, match=f"^{kind.__name__}: (each of )?{field.name} must"):
                Adjustment.from_dict({"adjustment": kind.__name__, **needed, field.name: plain})
