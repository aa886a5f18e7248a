import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import reference
from napari_exposure.core import AdaptiveEqualization
from napari_exposure.core.tiles import TileAxis, tile_grid

sizes = st.integers(1, 300).flatmap(lambda size: st.tuples(st.just(size), st.integers(1, size)))


@given(sizes)
def test_edges_cut_the_axis_into_mirrored_tiles(cut):
    size, tiles = cut
    axis = TileAxis(size, tiles)
    edges = axis.edges
    assert edges.tolist() == reference.tile_edges(size, tiles)
    assert edges[0] == 0
    assert edges[-1] == size
    widths = np.diff(edges)
    assert widths.min() >= 1
    assert widths.max() - widths.min() <= 2
    # an odd axis in an even number of tiles has no middle edge that mirrors itself
    if size % 2 == 0 or tiles % 2:
        assert widths.tolist() == widths[::-1].tolist()


@given(sizes)
def test_every_voxel_is_counted_in_one_tile(cut):
    size, tiles = cut
    axis = TileAxis(size, tiles)
    for voxel, tile in enumerate(axis.tile):
        assert axis.edges[tile] <= voxel < axis.edges[tile + 1]
    assert len(axis.tile) == size


@given(sizes)
def test_weights_are_linear_between_centres_and_clamped_outside(cut):
    size, tiles = cut
    axis = TileAxis(size, tiles)
    edges = reference.tile_edges(size, tiles)
    centres = [(a + b) / 2 for a, b in itertools.pairwise(edges)]
    for voxel, (left, weight) in enumerate(zip(axis.left, axis.weight, strict=True)):
        assert 0 <= weight <= 1
        # the blend of the two centres is the place itself, where it lies between centres
        right = min(left + 1, tiles - 1)
        place = centres[left] + float(weight) * (centres[right] - centres[left])
        assert place == pytest.approx(min(max(voxel + 0.5, centres[0]), centres[-1]), abs=1e-4)


@pytest.mark.parametrize(
    ("shape", "kernel_size", "spacing", "tiles"),
    [
        ((60, 256, 256), (30, 51, 51), (1, 1, 1), (2, 5, 5)),
        ((60, 256, 256), None, (1, 1, 1), (2, 8, 8)),
        # 40 micrometres are 20 planes or 80 pixels
        ((100, 400, 320), 40, (2, 0.5, 0.5), (5, 5, 4)),
        # the largest extent is that along z: 100 of 8 tiles
        ((10, 50), None, (10, 1), (8, 4)),
        ((5, 7), 1000, (1, 1), (1, 1)),
        # never more tiles than voxels
        ((5, 7), 0.01, (1, 1), (5, 7)),
        ((1, 7), 2.2, (1, 1), (1, 3)),
    ],
)
def test_tiles_have_the_physical_size(shape, kernel_size, spacing, tiles):
    assert tile_grid(shape, kernel_size, spacing).shape == tiles
    assert AdaptiveEqualization(kernel_size).grid(shape, spacing).shape == tiles


def test_grid_tells_its_tiles_in_voxels():
    grid = tile_grid((60, 256, 250), (30, 64, 50), (1, 1, 1))
    assert grid.voxels == (30, 64, 50)
    assert grid.kernel_size == (30, 64, 50)
    assert tile_grid((60, 256, 256), None, (1, 2, 1)).kernel_size == (64, 64, 64)
