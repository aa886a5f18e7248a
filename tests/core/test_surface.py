"""Depth below the surface of a mask: against spheres, whose depth is known, and light that was lost on the way."""

import dask.array as da
import numpy as np
import pytest

from napari_exposure import Recipe
from napari_exposure.core import DecayCorrection, LocalStretch, correct_decay, decay_exponent, decay_profile
from napari_exposure.core.surface import KEPT, SHELLS, find_depths
from napari_exposure.core.volume import Volume

LOST = 2.5
BACKGROUND = 20


def sphere(shape, spacing, part=0.45):
    """The depth of each voxel below the surface of a sphere in the middle, above 0 inside; and its radius."""
    axes = [(np.arange(n) - (n - 1) / 2) * size for n, size in zip(shape, spacing, strict=True)]
    radius = part * min(n * size for n, size in zip(shape, spacing, strict=True))
    return radius - np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij"))), radius


def spheroid(shape=(30, 61, 64), spacing=(2.0, 1.0, 1.0), dtype=np.float32):
    """What is in a spheroid, what is seen of it, and its mask."""
    depth, radius = sphere(shape, spacing)
    truth = np.random.default_rng(0).gamma(4, 60, shape) * (depth > 0)
    seen = BACKGROUND + truth * np.exp(-LOST * np.clip(depth, 0, None) / radius)
    return BACKGROUND + truth, seen.astype(dtype), depth > 0


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((60, 80, 90), (1.0, 1.0, 1.0)),
        ((20, 80, 90), (4.0, 1.0, 1.0)),
        ((5, 330, 340), (60, 0.5, 0.5)),
        ((90, 80), (2, 1)),
    ],
)
def test_depths_are_those_of_a_sphere(shape, spacing):
    depth, _ = sphere(shape, spacing)
    found = find_depths(Volume(np.zeros(shape, np.uint8), depth > 0), spacing)
    assert max(found.values.shape) <= KEPT
    depths = found.shells(tuple(slice(0, n) for n in shape)) * found.thickness
    inside = depth > 0
    # A voxel does not tell where in it the surface lies, and samples that are skipped do not either.
    assert np.abs(depths - depth)[inside].max() < 2 * max(spacing)
    assert np.abs(depths - depth)[inside].mean() < 0.6 * max(spacing)
    assert depths[~inside].max() < max(spacing)
    assert depths.max() <= SHELLS * found.thickness


@pytest.mark.parametrize("model", ["exponential", "smooth"])
@pytest.mark.parametrize("dtype", ["float32", "uint16", "float64"])
def test_light_that_a_spheroid_lost_comes_back(model, dtype):
    truth, seen, inside = spheroid(dtype=dtype)
    before = np.corrcoef(seen[inside], truth[inside])[0, 1]
    options = {"background": BACKGROUND, "mask": inside, "spacing": (2, 1, 1), "output": "float32"}
    result = correct_decay(seen, "surface", model, **options)
    assert before < 0.8
    assert np.corrcoef(result[inside], truth[inside])[0, 1] > (0.999 if dtype != "uint16" else 0.998)
    # No axis does.
    along_z = correct_decay(seen, "z", model, **options, force=True)
    assert np.corrcoef(along_z[inside], truth[inside])[0, 1] < 0.9


@pytest.mark.filterwarnings("ignore:Depth correction. nothing is corrected")
def test_what_lost_nothing_stays():
    truth, _, inside = spheroid()
    result = correct_decay(truth, "surface", background=BACKGROUND, mask=inside, spacing=(2, 1, 1))
    np.testing.assert_allclose(result, truth, rtol=0.03)


def test_the_profile_is_that_of_shells():
    _, seen, inside = spheroid()
    positions, profile, fitted = decay_profile(seen, "surface", mask=inside, spacing=(2, 1, 1), background=BACKGROUND)
    radius = sphere(seen.shape, (2, 1, 1))[1]
    assert positions.shape == profile.shape == fitted.shape == (SHELLS,)
    assert abs(positions[-1] - radius) < 2
    lost = np.exp(-LOST * (positions - positions[0]) / radius)
    np.testing.assert_allclose((fitted - BACKGROUND) / (fitted[0] - BACKGROUND), lost, rtol=0.1)
    # A median of a shell, by hand.
    depth = sphere(seen.shape, (2, 1, 1))[0]
    width = positions[1] - positions[0]
    shell = np.median(seen[inside & (np.abs(depth - positions[8]) < width)])
    assert abs(profile[8] - shell) < 0.1 * shell


def test_chunks_levels_and_parts_give_the_same():
    _, seen, inside = spheroid(dtype=np.uint16)
    correction = DecayCorrection("surface", background=BACKGROUND)
    fitted = correction.fit(seen, mask=inside, spacing=(2, 1, 1))
    whole = fitted.apply(seen)
    lazy = fitted.apply(da.from_array(seen, chunks=(7, 20, 64)))
    np.testing.assert_array_equal(lazy.compute(), whole)
    chunked = correction.fit(da.from_array(seen, chunks=(7, 20, 64)), mask=inside, spacing=(2, 1, 1))
    np.testing.assert_array_equal(chunked.apply(seen), whole)
    np.testing.assert_array_equal(fitted(seen[5:9, 10:30, 8:], (5, 10, 8)), whole[5:9, 10:30, 8:])
    # Another level, and every third voxel, hold nearly the same depths.
    half = fitted.at_level((15, 31, 32)).fits[()].gains_in(tuple(map(slice, (15, 31, 32))))
    full = fitted.fits[()].gains_in(tuple(map(slice, seen.shape)))
    np.testing.assert_allclose(half[:, :-1], full[::2, :-1:2, ::2][:, : half.shape[1] - 1], rtol=0.2)
    third = fitted.onto(seen.shape, (1, 3, 3)).fits[()].gains_in(tuple(map(slice, (30, 21, 22))))
    np.testing.assert_allclose(third, full[:, ::3, ::3])


def test_a_movie_has_a_surface_at_each_time_point():
    _, seen, inside = spheroid(dtype=np.uint16)
    movie, masks = np.stack([seen, seen[:, ::-1, ::-1] // 2]), np.stack([inside, inside[:, ::-1, ::-1]])
    options = {"spacing": (2, 1, 1), "background": 10.0}
    found = correct_decay(movie, "surface", mask=masks, per="volume", **options)
    for frame, mask, expected in zip(movie, masks, found, strict=True):
        np.testing.assert_array_equal(correct_decay(frame, "surface", mask=mask, **options), expected)
    with pytest.raises(ValueError, match="needs a surface for each time point"):
        correct_decay(movie, "surface", mask=masks, **options)


def test_colors_and_chains():
    _, seen, inside = spheroid()
    colors = (np.stack([seen, seen / 2, seen / 3], axis=-1) / 16).astype(np.uint8)
    found = correct_decay(colors, "surface", mask=inside, spacing=(2, 1, 1), rgb=True, force=True)
    middle = np.s_[14:16, 28:33, 30:34]
    assert found[middle].mean() > 2 * colors[middle].mean()
    recipe = Recipe((DecayCorrection("surface", background=BACKGROUND), LocalStretch(12.0)))
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    chained = recipe.apply(seen, mask=inside, spacing=(2, 1, 1))
    first = correct_decay(seen, "surface", background=BACKGROUND, mask=inside, spacing=(2, 1, 1))
    np.testing.assert_array_equal(chained, LocalStretch(12.0).fit(first, mask=inside, spacing=(2, 1, 1)).apply(first))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (None, "the depth below the surface of the mask, and there is none"),
        (np.ones((6, 7, 8), bool), "selects all voxels"),
        (np.zeros((6, 7, 8), bool), "no finite voxel"),
    ],
)
def test_no_surface(mask, message):
    volume = np.arange(6 * 7 * 8, dtype=np.uint16).reshape(6, 7, 8)
    with pytest.raises(ValueError, match=message):
        correct_decay(volume, "surface", mask=mask)


def test_a_start_plane_has_no_meaning():
    _, seen, inside = spheroid(dtype=np.uint16)
    with pytest.raises(ValueError, match="start counts planes"):
        correct_decay(seen, "surface", mask=inside, start=3)


def test_saturated_voxels_are_told():
    truth, seen, inside = spheroid()
    eight = np.clip(seen * (255 / np.percentile(truth, 99.5)), 0, 255).astype(np.uint8)
    with pytest.warns(UserWarning, match=r"of the voxels exceed uint8"):
        correct_decay(eight, "surface", mask=inside, spacing=(2, 1, 1), background=10.0)


def test_a_reference_channel_below_a_surface_measures_depth_in_physical_units():
    # Planes are 6 times as far apart as pixels, so that in voxels the depth would be another one.
    shape, spacing, ratio = (11, 70, 72), (6.0, 1.0, 1.0), 1.7
    depth, radius = sphere(shape, spacing)
    stain = np.random.default_rng(1).gamma(8, 20, shape) * (depth > 0)
    others = np.random.default_rng(2).gamma(8, 20, shape) * (depth > 0)
    reference, image = (
        each * np.exp(-power * np.clip(depth, 0, None) / radius)
        for each, power in ((stain, 1.5), (others, 1.5 * ratio))
    )
    how = {"axis": "surface", "mask": depth > 0}
    exponent = decay_exponent(image, reference, spacing=spacing, **how)
    assert exponent == pytest.approx(ratio, rel=0.01)
    # The slope of the one profile against the other, both over the true depth.
    x, y = (np.log(decay_profile(each, spacing=spacing, **how)[2]) for each in (reference, image))
    assert exponent == pytest.approx(np.polyfit(x, y, 1)[0], rel=1e-9)
    assert decay_exponent(image, reference, **how) != pytest.approx(exponent, rel=1e-4)
