"""Tiles of a mosaic that are brought to one scale, and the line that does it."""

import itertools

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image

import napari_exposure as nx
from napari_exposure import core
from napari_exposure.core import progress
from napari_exposure.core.overlaps import differences, eliminated

CORNERS = list(itertools.product((0, 12), (0, 40), (0, 40)))
SHAPE = (20, 56, 56)
GAINS = [1.0, 0.7, 1.3, 0.9, 1.5, 0.6, 1.1, 0.8]
OFFSETS = [0.0, 120.0, -40.0, 15.0, 60.0, 200.0, -80.0, 33.0]


@pytest.fixture(scope="module")
def scene():
    """Blobs of all sizes on a background, from 400 to some 4000."""
    rng = np.random.default_rng(3)
    field = np.zeros((32, 96, 96))
    for size in (2, 4, 8, 16):
        coarse = rng.random(tuple(-(-n // size) for n in field.shape)) ** 4
        fine = coarse.repeat(size, 0).repeat(size, 1).repeat(size, 2)
        field += size**0.5 * fine[: field.shape[0], : field.shape[1], : field.shape[2]]
    return 400 + 3600 * field / field.max()


def cut(scene, dtype, noise=0.0, top=None):
    """Eight tiles with known gains and offsets, as a microscope would have them."""
    rng = np.random.default_rng(5)
    tiles = []
    for corner, gain, offset in zip(CORNERS, GAINS, OFFSETS, strict=True):
        part = scene[tuple(slice(at, at + n) for at, n in zip(corner, SHAPE, strict=True))]
        part = gain * part + offset + rng.normal(0, noise or 1e-9, part.shape)
        if top is not None:
            part = np.minimum(part, top)
        if np.dtype(dtype).kind == "u":
            part = np.rint(part).clip(0, np.iinfo(dtype).max)
        tiles.append(part.astype(dtype))
    return tiles


def expected(fixed=0):
    """Factors and offsets that take gains and offsets back, to the scale of the fixed tile."""
    factors = [GAINS[fixed] / gain for gain in GAINS]
    return factors, [OFFSETS[fixed] - factor * offset for factor, offset in zip(factors, OFFSETS, strict=True)]


@pytest.mark.parametrize("fixed", [0, 5])
@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64", "uint32"])
def test_known_gains_and_offsets_come_back(scene, dtype, fixed):
    found = core.fit_overlaps(cut(scene, dtype), translate=CORNERS, fixed=fixed)
    factors, offsets = expected(fixed)
    np.testing.assert_allclose([each.factor for each in found], factors, rtol=1e-3)
    np.testing.assert_allclose([each.offset for each in found], offsets, atol=1e-3 * 4000 * max(factors))
    assert (found[fixed].factor, found[fixed].offset) == (1, 0)


def test_noise_does_not_shrink_the_factors(scene):
    # of the signal's standard deviation in the brightest tile more than a tenth
    tiles = cut(scene, "uint16", noise=60)
    found = core.fit_overlaps(tiles, translate=CORNERS)
    factors, _ = expected()
    errors = np.array([each.factor for each in found]) / factors - 1
    assert np.abs(errors).max() < 0.01
    # the mosaic as it should be
    fixed = core.match_overlaps(tiles, translate=CORNERS, output="float32")
    for corner, tile in zip(CORNERS, fixed, strict=True):
        truth = scene[tuple(slice(at, at + n) for at, n in zip(corner, SHAPE, strict=True))]
        assert abs(float(tile.mean()) / truth.mean() - 1) < 0.01


@pytest.mark.parametrize("top", [2500, 3500])
def test_saturated_voxels_do_not_count(scene, top):
    tiles = cut(scene, "uint16", top=top)
    assert max((tile == top).mean() for tile in tiles) > 0.02
    found = core.fit_overlaps(tiles, translate=CORNERS)
    np.testing.assert_allclose([each.factor for each in found], expected()[0], rtol=0.01)
    # a regression over all voxels of a pair is off by more
    one, two = tiles[0][:, :, 40:56].astype(float), tiles[1][:, :, :16].astype(float)
    slope = np.polyfit(two.ravel(), one.ravel(), 1)[0]
    assert abs(found[1].factor / expected()[0][1] - 1) < abs(slope / expected()[0][1] - 1)


def test_layers_stay_lazy_and_are_shown_alike(scene):
    tiles = cut(scene, "uint16")
    places = [tuple(np.multiply(corner, (2.0, 0.5, 0.5))) for corner in CORNERS]
    layers = [
        Image(
            da.from_array(tile, chunks=(8, 56, 56)),
            name=f"tile {number}",
            scale=(2.0, 0.5, 0.5),
            translate=np.add(place, (100, -7, 3)),
            units="um",
            contrast_limits=(0, 5000 - 100 * number),
        )
        for number, (tile, place) in enumerate(zip(tiles, places, strict=True))
    ]
    results = nx.match_overlaps(layers)
    lines = core.fit_overlaps(tiles, translate=places, spacing=(2.0, 0.5, 0.5))
    for layer, source, line, tile in zip(results, layers, lines, tiles, strict=True):
        assert isinstance(layer.data, da.Array)
        assert nx.Recipe.of(layer).steps == (line,)
        np.testing.assert_array_equal(layer.data.compute(), core.adjust(line, tile))
        assert tuple(layer.translate) == tuple(source.translate)
        assert tuple(layer.contrast_limits) == (0, 5000)
        assert tuple(source.contrast_limits) != (0, 5000) or source is layers[0]
    # neighbors agree, where they differed by hundreds
    for one, other, at in ((0, 1, -1), (0, 2, -2), (0, 4, -3)):
        width = SHAPE[at] - CORNERS[other][at]
        behind = [slice(None)] * 3
        before = [slice(None)] * 3
        behind[at], before[at] = slice(-width, None), slice(0, width)
        apart = [
            np.abs(pair[one][tuple(behind)].astype(float) - pair[other][tuple(before)]).mean()
            for pair in (tiles, [layer.data.compute() for layer in results])
        ]
        assert apart[1] < 2 < 50 < apart[0]


def test_the_same_bits_whatever_the_chunks_and_threads(scene, monkeypatch):
    tiles = cut(scene, "float32", noise=20)
    found = core.fit_overlaps(tiles, translate=CORNERS)
    for chunks in ((20, 56, 56), (3, 17, 29)):
        lazy = [da.from_array(tile, chunks=chunks) for tile in tiles]
        assert core.fit_overlaps(lazy, translate=CORNERS) == found
    monkeypatch.setattr("napari_exposure.core.blocks.thread_count", lambda: 1)
    assert core.fit_overlaps(tiles, translate=CORNERS) == found
    big = [tile.astype(">f4") for tile in tiles]
    assert core.fit_overlaps(big, translate=CORNERS) == found


def test_voxels_that_are_none_do_not_count(scene):
    tiles = cut(scene, "float32")
    plain = core.fit_overlaps(tiles, translate=CORNERS)
    holes = [tile.copy() for tile in tiles]
    for hole in holes:
        hole[4:8, 50:54, 50:54] = np.nan
        hole[5, 51, 2:4] = np.inf
    for kind in (holes, [np.ma.masked_invalid(hole) for hole in holes]):
        found = core.fit_overlaps(kind, translate=CORNERS)
        np.testing.assert_allclose([each.factor for each in found], [each.factor for each in plain], rtol=1e-4)


def test_tiles_apart_are_named(scene):
    tiles = cut(scene, "uint16")
    places = [*CORNERS[:6], (500, 0, 0), (500, 40, 0)]
    layers = [
        Image(tile, name=f"tile {n}", translate=place)
        for n, (tile, place) in enumerate(zip(tiles, places, strict=True))
    ]
    with pytest.raises(ValueError, match=r"^Layer 'tile 6', Layer 'tile 7' does not overlap with Layer 'tile 0'"):
        nx.match_overlaps(layers)
    with pytest.raises(ValueError, match="Image 6, Image 7 does not overlap"):
        core.match_overlaps(tiles, translate=places)
    # where they overlap there is nothing
    flat = [tiles[0], np.full_like(tiles[1], 7)]
    with pytest.raises(ValueError, match="Image 1 shows nothing in common, where they overlap, with Image 0"):
        core.match_overlaps(flat, translate=CORNERS[:2])
    noise = np.random.default_rng(0).integers(0, 1000, (2, *SHAPE), dtype=np.uint16)
    with pytest.raises(ValueError, match="Image 1 shows nothing in common"):
        core.match_overlaps(list(noise), translate=CORNERS[:2])


def test_what_is_refused(scene):
    tiles = cut(scene, "uint16")[:2]

    def layers(**more):
        first = Image(tiles[0], name="first")
        return [first, Image(tiles[1], name="second", translate=(0, 0, 40), **more)]

    refused = {
        "is rotated": {"rotate": 10},
        "is sheared": {"shear": [0.1, 0, 0]},
        "affine transform": {"affine": np.diag([1, 2, 1, 1])},
        "is mirrored": {"scale": (1, 1, -1)},
        "voxels of another size": {"scale": (2, 1, 1)},
    }
    for words, more in refused.items():
        with pytest.raises(ValueError, match=f"Layer 'second'.*{words}"):
            nx.match_overlaps(layers(**more))
    with pytest.raises(TypeError, match="'colors' is RGB"):
        nx.match_overlaps([layers()[0], Image(np.zeros((20, 56, 56, 3), np.uint8), name="colors", rgb=True)])
    with pytest.raises(ValueError, match="'plane' has 2 axes, but Layer 'first' has 3"):
        nx.match_overlaps([layers()[0], Image(tiles[0][0], name="plane")])
    with pytest.raises(TypeError, match="translate and spacing are for arrays"):
        nx.match_overlaps(layers(), translate=CORNERS[:2])
    with pytest.raises(ValueError, match="An array does not say where it lies"):
        nx.match_overlaps(tiles)
    with pytest.raises(ValueError, match="two images or more"):
        nx.match_overlaps(tiles[:1], translate=CORNERS[:1])
    with pytest.raises(ValueError, match="fixed must be one of the images or its number, 0 to 1, got 2"):
        nx.match_overlaps(layers(), fixed=2)
    with pytest.raises(TypeError, match="one kind"):
        nx.match_overlaps([layers()[0], tiles[1]])
    with pytest.raises(TypeError, match="mask of two values"):
        nx.match_overlaps([tiles[0] > 500, tiles[1]], translate=CORNERS[:2])


def test_units_are_converted(scene):
    tiles = cut(scene, "uint16")[:2]
    first = Image(tiles[0], name="first", scale=(1, 1, 1), units="um")
    second = Image(tiles[1], name="second", scale=(1000,) * 3, translate=(0, 0, 40_000), units="nm")
    found = nx.fit_overlaps([first, second])
    assert found == core.fit_overlaps(tiles, translate=CORNERS[:2])


def test_progress_and_cancel(scene):
    tiles = cut(scene, "uint16")
    seen = []
    with progress.listening(lambda step: seen.append(step.fraction)):
        nx.match_overlaps(tiles, translate=CORNERS)
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1)

    def stop(step):
        if step.fraction > 0.2:
            raise progress.Cancelled

    with pytest.raises(progress.Cancelled), progress.listening(stop):
        nx.match_overlaps(tiles, translate=CORNERS)


# --- the equations ----------------------------------------------------------------------


def test_equations_are_solved_as_numpy_does():
    rng = np.random.default_rng(0)
    for number in (1, 2, 7, 20):
        matrix = rng.normal(size=(number, number + 1))
        expected = np.linalg.solve(matrix[:, :-1], matrix[:, -1])
        np.testing.assert_allclose(eliminated(matrix.tolist()), expected, rtol=1e-9)


def test_differences_are_least_squares():
    rng = np.random.default_rng(1)
    pairs = [(i, j) for i in range(6) for j in range(i)]
    wanted, weights = rng.normal(size=len(pairs)), rng.uniform(0.1, 9, len(pairs))
    design = np.zeros((len(pairs), 6))
    for row, (i, j) in enumerate(pairs):
        design[row, i], design[row, j] = 1, -1
    roots = np.sqrt(weights)
    free = [0, 1, 3, 4, 5]
    expected = np.linalg.lstsq(roots[:, None] * design[:, free], roots * wanted, rcond=None)[0]
    found = differences([(i, j, d, w) for (i, j), d, w in zip(pairs, wanted, weights, strict=True)], 6, 2)
    assert found[2] == 0
    np.testing.assert_allclose([found[each] for each in free], expected, rtol=1e-9)


# --- the line ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "int64", "float16", "float32", "float64"])
def test_a_line_is_a_line(dtype):
    volume = np.random.default_rng(0).integers(0, 120, (5, 9, 11)).astype(dtype)
    exact = 1.7 * volume.astype(float) - 30
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        wanted = np.rint(exact).clip(limits.min, limits.max).astype(dtype)
    else:
        wanted = exact.astype(np.float32 if dtype == "float16" else dtype).astype(dtype)
    np.testing.assert_allclose(core.adjust_linear(volume, 1.7, -30), wanted, rtol=1e-6 if dtype != "float16" else 1e-3)
    np.testing.assert_allclose(core.adjust_linear(volume, 1.7, -30, output="float32"), exact, rtol=1e-5, atol=1e-5)
    lazy = core.adjust_linear(da.from_array(volume, chunks=(2, 4, 11)), 1.7, -30)
    np.testing.assert_array_equal(lazy.compute(), core.adjust_linear(volume, 1.7, -30))


def test_a_line_goes_on_beyond_what_was_fitted():
    dim, bright = np.array([[0.0, 1.0]]), np.array([[-3.0, np.nan, 50.0]])
    fitted = core.Linear(2.0, 1.0).fit(dim)
    np.testing.assert_array_equal(fitted.onto((1, 3))(bright), [[-5, np.nan, 101]])
    # but for a range that is asked for
    np.testing.assert_array_equal(core.adjust_linear(bright, 2.0, 1.0, in_range=(0, 10)), [[1, np.nan, 21]])
    steady = np.full((2, 3), 7, np.uint8)
    np.testing.assert_array_equal(core.adjust_linear(steady, 2.0, 1.0), np.full((2, 3), 15))


def test_a_line_of_colors():
    colors = np.random.default_rng(0).integers(0, 100, (6, 7, 3), dtype=np.uint8)
    twice = core.adjust_linear(colors, 2.0, rgb=True)
    np.testing.assert_array_equal(twice, 2 * colors)
    single = core.adjust_linear(colors, 2.0, rgb=True, output="float32")
    np.testing.assert_allclose(single, 2 * colors / 255, atol=1e-6)
    assert core.adjust_linear(colors, 9.0, rgb=True, output="float32").max() <= 1
