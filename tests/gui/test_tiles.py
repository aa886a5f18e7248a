"""The tiles drawn over an image, and one contrast for source and result, in a shown window."""

import gc
import itertools
import weakref

import numpy as np
import pytest
from napari.layers import Vectors
from napari.layers.utils._link_layers import layer_is_linked
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QSlider

import napari_exposure as nx
from gui.driving import SWAPPED_FLOATS, click, give, no_workers, tiles_of
from napari_exposure.gui import preview
from napari_exposure.gui.napari_versions import camera_of, grid_of
from napari_exposure.gui.viewer.cursor import voxel_under

NAME = "Adaptive equalization"


@pytest.fixture
def viewer(make_napari_viewer):
    shown = make_napari_viewer(show=True)
    shown.window._qt_window.resize(1100, 800)
    return shown


@pytest.fixture
def quiet(monkeypatch):
    """No preview begins by itself."""
    monkeypatch.setattr(preview, "QUICK", 0)


def drawn(viewer):
    """The layer of the tiles, if there is one."""
    found = [layer for layer in viewer.layers if isinstance(layer, Vectors)]
    assert len(found) <= 1
    return found[0] if found else None


def result_of(widget):
    return widget.live.first.layer


def previewed(qtbot, widget, condition=lambda: True):
    qtbot.wait(60)
    there = lambda: not widget.live.first.running and result_of(widget) is not None and condition()  # noqa: E731
    qtbot.waitUntil(there, timeout=20_000)


def with_tiles(qtbot, viewer, open_widget, edge=None):
    """Open the widget and switch its tiles on."""
    widget = open_widget(NAME)
    if edge is not None:
        widget["kernel_size"].value = edge
    click(tiles_of(widget).switch)
    qtbot.waitUntil(lambda: drawn(viewer) is not None)
    # whatever was posted
    qtbot.wait(100)
    return widget


def of_plugin(callback):
    """Whether a callback that napari holds is one of the plugin's: of an object, or a function."""
    owner, method = (callback[0](), callback[1]) if isinstance(callback, tuple) else (callback, "")
    if method == "reset_choices":
        # napari's own connection, which it keeps of a closed dock
        return False
    return any((getattr(each, "__module__", None) or "").startswith("napari_exposure") for each in (owner, type(owner)))


def heard(viewer, *layers):
    """How many callbacks of the plugin everything has that it may listen to."""
    gc.collect()
    groups = {
        "dims": viewer.dims,
        "cursor": viewer.cursor,
        "camera": camera_of(viewer),
        "grid": grid_of(viewer),
        "layers": viewer.layers,
        "selection": viewer.layers.selection,
        **{f"layer {number}": layer for number, layer in enumerate(layers)},
    }
    counts = {
        (name, emitter): sum(map(of_plugin, found.callbacks))
        for name, thing in groups.items()
        for emitter, found in thing.events.emitters.items()
        if found is not None
    }
    return {key: count for key, count in counts.items() if count}


# --- where lines must lie: nothing of the overlay or of the grid is asked ---


def borders(size, step, edge):
    """Of the tiles along one axis: in voxels, where a voxel is centred on its index."""
    tiles = min(size, max(1, round(size * step / edge)))
    lower = [number * size // tiles for number in range(tiles + 1)]
    found = [lower[k] if 2 * k <= tiles else size - lower[tiles - k] for k in range(tiles + 1)]
    return np.array(found) - 0.5


def tile_of(found, voxel):
    """The two borders around a voxel."""
    at = np.searchsorted(found, voxel) - 1
    return found[at : at + 2]


def edges_of_box(*ranges):
    """The edges of a box: pairs of corners that differ along one axis."""
    corners = list(itertools.product(*ranges))
    pairs = itertools.combinations(corners, 2)
    return [pair for pair in pairs if sum(a != b for a, b in zip(*pair, strict=True)) == 1]


def net(rows, columns):
    """Straight lines on all borders, from one side to the other."""
    across = [((row, columns[0]), (row, columns[-1])) for row in rows]
    return across + [((rows[0], column), (rows[-1], column)) for column in columns]


def placed(ends, displayed, ndim, scale=1.0, translate=0.0, degrees=0.0, affine=None):
    """From displayed voxel axes to the same axes in the world; scaled, then rotated in the last plane, then moved."""
    data = np.zeros((len(ends), 2, ndim))
    data[..., displayed] = ends
    turn = np.eye(ndim)
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn[-2:, -2:] = [[cos, -sin], [sin, cos]]
    world = (data * scale) @ turn.T + translate
    if affine is not None:
        world = world @ np.asarray(affine)[:-1, :-1].T + np.asarray(affine)[:-1, -1]
    return world[..., displayed]


def lines_in_world(layer):
    """Start and end of each line, shape (lines, 2, axes)."""
    ends = [(start, start + along) for start, along in layer.data]
    return np.array([[layer.data_to_world(end) for end in pair] for pair in ends])


def assert_same_lines(lines, expected, displayed):
    """Each line is there once, in whatever direction."""
    lines, expected = lines[..., displayed], np.asarray(expected, float)
    assert lines.shape == expected.shape
    tolerance = 1e-4 * np.ptp(expected, axis=(0, 1)).max()
    apart = np.min(
        [np.abs(lines[:, None] - turned[None]).max(axis=(2, 3)) for turned in (expected, expected[:, ::-1])], axis=0
    )
    near = apart < tolerance
    # a border of the tile may be one of the volume as well
    assert near.any(axis=0).all()
    assert near.any(axis=1).all()
    np.testing.assert_array_equal(near.sum(axis=0)[near.argmax(axis=1)], near.sum(axis=1))


def assert_in_slice(viewer, layer):
    """All lines are seen, and lie where the sliders are."""
    assert layer.visible
    assert len(layer._view_indices) == len(layer.data)
    more = viewer.dims.ndim - layer.ndim
    for axis in viewer.dims.not_displayed:
        if axis >= more:
            np.testing.assert_allclose(lines_in_world(layer)[..., axis - more], viewer.dims.point[axis], atol=0.01)


def alphas(layer):
    return np.asarray(layer.edge_color)[:, 3]


def bright(layer):
    """The lines of the tile that is pointed at."""
    return lines_in_world(layer)[alphas(layer) == 1]


def assert_net(layer, rows, columns, displayed, place):
    """The borders, and one tile: napari moves the cursor when axes or scale change."""
    faint = lines_in_world(layer)[alphas(layer) < 1]
    assert_same_lines(faint, placed(net(rows, columns), displayed, **place), displayed)
    found = bright(layer)[..., displayed]
    assert len(found) == 4
    boxes = itertools.product(itertools.pairwise(rows), itertools.pairwise(columns))
    centres = [placed(edges_of_box(*box), displayed, **place).mean(axis=(0, 1)) for box in boxes]
    near = np.abs(np.array(centres) - found.mean(axis=(0, 1))).max(axis=1)
    assert near.min() < 1e-4 * np.abs(found).max()


CASES = {
    "plain": ((12, 40, 48), {}),
    "anisotropic": ((12, 40, 48), {"scale": (2, 0.5, 0.25)}),
    "moved": ((12, 40, 48), {"scale": (2, 0.5, 0.5), "translate": (100, -7, 3.3)}),
    "rotated": ((12, 40, 48), {"scale": (2, 0.5, 0.25), "translate": (1, 2, 3), "rotate": 30}),
    "sheared": ((12, 40, 48), {"affine": [[3, 0, 0, 5], [0, 1, 0.4, -2], [0, 0, 1, 7], [0, 0, 0, 1]]}),
    "mirrored": ((12, 40, 48), {"scale": (2, -0.5, 0.5)}),
    "times": ((3, 6, 20, 24), {"scale": (5, 2, 0.5, 0.5), "translate": (1, 2, 3, 4)}),
    "2D": ((40, 48), {"scale": (0.5, 0.25), "rotate": 30}),
    "RGB": ((40, 48, 3), {"rgb": True, "scale": (0.5, 0.5)}),
    "RGB volume": ((6, 40, 48, 3), {"rgb": True, "scale": (2, 0.5, 0.5)}),
}


def opened(viewer, case):
    """Open an image; its borders along each axis by edge, and what `placed` must know."""
    shape, options = CASES[case]
    data = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    image = viewer.add_image(data, name="nuclei", **options)
    shape = shape[:-1] if image.rgb else shape
    scale = np.array(options.get("scale", (1,) * len(shape)), float)

    def along(edge, spatial=3):
        spatial = min(spatial, len(shape))
        lead = len(shape) - spatial
        steps = np.abs(scale)
        edge = edge or max(n * step for n, step in zip(shape[lead:], steps[lead:], strict=True)) / 8
        whole = [np.array([-0.5, n - 0.5]) for n in shape[:lead]]
        return whole + [borders(n, step, edge) for n, step in zip(shape[lead:], steps[lead:], strict=True)]

    place = {
        "ndim": len(shape),
        "scale": scale,
        "translate": options.get("translate", 0.0),
        "degrees": options.get("rotate", 0.0),
        "affine": options.get("affine"),
    }
    return image, along, place


def test_one_layer_on_top_that_leaves_the_active_one_active(qtbot, viewer, open_widget, volume, quiet):
    viewer.add_image(volume, name="other")
    source = viewer.add_image(volume, name="nuclei")
    viewer.add_image(volume, name="last")
    viewer.layers.selection.active = source
    widget = open_widget(NAME)
    qtbot.wait(100)
    assert not tiles_of(widget).switch.isChecked()
    assert drawn(viewer) is None
    click(tiles_of(widget).switch)
    qtbot.waitUntil(lambda: drawn(viewer) is not None)
    names = [layer.name for layer in viewer.layers]
    assert names == ["other", "nuclei", "last", "nuclei - tiles"]
    assert viewer.layers.selection == {source}
    assert viewer.layers.selection.active == source
    # tiles are no image to adjust
    assert len(widget.header.layer.choices) == 3
    click(tiles_of(widget).switch)
    qtbot.waitUntil(lambda: drawn(viewer) is None)
    assert [layer.name for layer in viewer.layers] == ["other", "nuclei", "last"]
    assert viewer.layers.selection.active == source
    # one of several
    viewer.layers.selection = {source, viewer.layers["other"]}
    viewer.layers.selection.active = source
    selected = set(viewer.layers.selection)
    click(tiles_of(widget).switch)
    qtbot.waitUntil(lambda: drawn(viewer) is not None)
    assert viewer.layers.selection == selected
    assert viewer.layers.selection.active == source


def test_it_stays_above_the_live_layer_and_leaves_the_source_selected(qtbot, viewer, open_widget, volume):
    source = viewer.add_image(volume, name="nuclei")
    widget = open_widget(NAME)
    previewed(qtbot, widget)
    click(tiles_of(widget).switch)
    assert viewer.layers.selection == {source}
    click(widget.bar.live)
    qtbot.waitUntil(lambda: result_of(widget) is None)
    assert viewer.layers.selection.active == source
    click(widget.bar.live)
    previewed(qtbot, widget)
    assert [layer.name for layer in viewer.layers] == ["nuclei", "nuclei - exposure", "nuclei - tiles"]
    assert viewer.layers.selection == {source}


@pytest.mark.parametrize("case", CASES)
def test_lines_lie_on_the_borders_in_the_world(qtbot, viewer, open_widget, quiet, case):
    image, along, place = opened(viewer, case)
    widget = with_tiles(qtbot, viewer, open_widget)
    for edge in (None, 3.7):
        if edge is not None:
            widget["kernel_size"].value = edge
            qtbot.wait(300)
        layer, ndim = drawn(viewer), place["ndim"]
        rows, columns = along(edge)[-2:]
        height, width = image.data.shape[:-1][-2:] if image.rgb else image.data.shape[-2:]
        seen = [ndim - 2, ndim - 1]
        tile = edges_of_box(tile_of(rows, height // 2), tile_of(columns, width // 2))
        net_lines = net(rows, columns)
        assert len(net_lines) == len(rows) + len(columns)
        assert_same_lines(lines_in_world(layer), placed(net_lines + tile, seen, **place), seen)
        assert_same_lines(bright(layer), placed(tile, seen, **place), seen)
        assert_in_slice(viewer, layer)


def test_lines_are_where_they_must_be_on_the_canvas(qtbot, viewer, open_widget, quiet):
    viewer.add_image(np.zeros((40, 60), np.uint8), name="dark", scale=(1, 2), translate=(5, 9), contrast_limits=(0, 1))
    with_tiles(qtbot, viewer, open_widget, 20.0)
    # in the corner, so that no thick line lies elsewhere
    viewer.cursor.position = (5, 9)
    camera_of(viewer).zoom = 2
    qtbot.wait(300)
    picture = viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)
    middle = np.array(picture.shape[:2]) / 2
    centre = np.array(camera_of(viewer).center[-2:])

    def red(y, x):
        row, column = np.round((np.array([y, x]) - centre) * 2 + middle).astype(int)
        around = picture[row - 2 : row + 3, column - 2 : column + 3]
        return (around[..., 0] - around[..., 1]).max() > 60

    rows, columns = borders(40, 1, 20) + 5, borders(60, 2, 20) * 2 + 9
    assert (len(rows), len(columns)) == (3, 7)
    for row, column in itertools.product((rows[:-1] + rows[1:]) / 2, (columns[:-1] + columns[1:]) / 2):
        assert not red(row, column)
    for row in (rows[:-1] + rows[1:]) / 2:
        assert all(red(row, column) for column in columns)
    for column in (columns[:-1] + columns[1:]) / 2:
        assert all(red(row, column) for row in rows)


@pytest.mark.parametrize("case", ["times", "RGB volume"])
def test_tiles_of_planes_are_flat(qtbot, viewer, open_widget, quiet, case):
    _, along, place = opened(viewer, case)
    widget = with_tiles(qtbot, viewer, open_widget)
    widget["per"].value = "plane"
    ndim = place["ndim"]
    every = along(None, spatial=2)
    # once along y and x, once in a plane that cuts all tiles: there they reach from end to end
    for order in (tuple(range(ndim)), (ndim - 1, *range(ndim - 1))):
        viewer.dims.order = order
        seen = list(order[-2:])
        rows, columns = (every[axis] for axis in seen)
        lines = len(rows) + len(columns) + 4
        qtbot.waitUntil(lambda: len(drawn(viewer).data) == lines)  # noqa: B023
        qtbot.wait(50)
        assert_net(drawn(viewer), rows, columns, seen, place)
        assert_in_slice(viewer, drawn(viewer))


@pytest.mark.parametrize("case", ["moved", "times"])
def test_any_two_axes_can_be_looked_at(qtbot, viewer, open_widget, quiet, case):
    _, along, place = opened(viewer, case)
    with_tiles(qtbot, viewer, open_widget, 4.0)
    every = along(4.0)
    for order in itertools.permutations(range(place["ndim"])):
        viewer.dims.order = order
        seen = list(order[-2:])
        assert_net(drawn(viewer), *(every[axis] for axis in seen), seen, place)
        assert_in_slice(viewer, drawn(viewer))


@pytest.mark.parametrize("case", ["rotated", "sheared", "mirrored", "times"])
def test_in_3d_the_volume_and_one_tile(qtbot, viewer, open_widget, quiet, case):
    image, along, place = opened(viewer, case)
    with_tiles(qtbot, viewer, open_widget, 4.0)
    viewer.dims.ndisplay = 3
    layer, every = drawn(viewer), along(4.0)[-3:]
    seen = [axis - 3 + place["ndim"] for axis in range(3)]
    tile = edges_of_box(*(tile_of(found, n // 2) for found, n in zip(every, image.data.shape[-3:], strict=True)))
    whole = edges_of_box(*((found[0], found[-1]) for found in every))
    assert (len(whole), len(tile), len(layer.data)) == (12, 12, 24)
    assert_same_lines(lines_in_world(layer), placed(whole + tile, seen, **place), seen)
    assert_same_lines(bright(layer), placed(tile, seen, **place), seen)
    assert_in_slice(viewer, layer)
    viewer.dims.ndisplay = 2
    assert len(drawn(viewer).data) == 4 + sum(map(len, every[-2:]))
    assert_in_slice(viewer, drawn(viewer))


def test_a_plane_among_volumes_has_its_lines_at_every_z(qtbot, viewer, open_widget, volume, quiet):
    viewer.add_image(volume, name="volume", scale=(3, 1, 1))
    image, along, place = opened(viewer, "2D")
    widget = with_tiles(qtbot, viewer, open_widget, 4.0)
    assert widget.layer == image
    for z in (0, 7):
        viewer.dims.set_current_step(0, z)
        assert_net(drawn(viewer), *along(4.0), [0, 1], place)
        assert_in_slice(viewer, drawn(viewer))
    viewer.dims.ndisplay = 3
    assert_net(drawn(viewer), *along(4.0), [0, 1], place)


# --- the tile under the cursor ---


def points_at(qtbot, viewer, position, expected, displayed):
    viewer.cursor.position = position

    def there():
        assert_same_lines(bright(drawn(viewer)), expected, displayed)

    qtbot.waitUntil(lambda: there() or True, timeout=3000)


def test_the_tile_under_the_cursor_is_brighter(qtbot, viewer, open_widget, quiet):
    _, along, place = opened(viewer, "rotated")
    with_tiles(qtbot, viewer, open_widget, 4.0)
    rows, columns = along(4.0)[-2:]
    z = viewer.dims.point[0]
    for y, x in [(0, 0), (39, 47), (13, 30)]:
        box = [tile_of(rows, y), tile_of(columns, x)]
        expected = placed(edges_of_box(*box), [1, 2], **place)
        middle = [np.mean(each) for each in box]
        position = placed([[middle, middle]], [1, 2], **place)[0, 0]
        points_at(qtbot, viewer, (z, *position), expected, [1, 2])
        layer = drawn(viewer)
        assert (alphas(layer) == 1).sum() == 4
        assert 0 < alphas(layer).min() == np.sort(alphas(layer))[-5] < 0.9
        # in the same tile: nothing is drawn anew
        qtbot.wait(300)
        drawn_before, colours = layer.data, layer.edge_color
        for part in (0.1, 0.9, 0.3):
            inside = [each[0] + part * (each[1] - each[0]) for each in box]
            viewer.cursor.position = (z, *placed([[inside, inside]], [1, 2], **place)[0, 0])
            qtbot.wait(80)
        assert layer.data is drawn_before
        assert layer.edge_color is colours or np.array_equal(layer.edge_color, colours)
        # beside the layer the last one stays
        viewer.cursor.position = (z, -1000, -1000)
        qtbot.wait(80)
        assert layer.data is drawn_before


def test_a_real_mouse_chooses_the_tile(qtbot, viewer, open_widget, quiet):
    viewer.add_image(np.zeros((60, 80), np.uint8), name="dark", scale=(2, 1))
    with_tiles(qtbot, viewer, open_widget, 20.0)
    rows, columns = borders(60, 2, 20), borders(80, 1, 20)
    canvas = viewer.window._qt_viewer.canvas.native
    for part in (0.35, 0.5, 0.6):
        QTest.mouseMove(canvas, QPoint(int(part * canvas.width()), int(part * canvas.height())))
        qtbot.wait(300)
        y, x = np.round(np.array(viewer.cursor.position) / (2, 1))
        assert 0 <= y < 60
        assert 0 <= x < 80
        expected = placed(edges_of_box(tile_of(rows, y), tile_of(columns, x)), [0, 1], 2, scale=(2, 1))
        points_at(qtbot, viewer, viewer.cursor.position, expected, [0, 1])


def test_in_3d_the_tile_of_the_brightest_voxel(qtbot, viewer, open_widget, quiet):
    data = np.zeros((12, 40, 48), np.uint8)
    viewer.add_image(data, name="nuclei", scale=(2, 0.5, 0.5))
    with_tiles(qtbot, viewer, open_widget, 5.0)
    viewer.dims.ndisplay = 3
    camera_of(viewer).set_view_direction((1, 0, 0), (0, -1, 0))
    every = [borders(n, step, 5.0) for n, step in zip(data.shape, (2, 0.5, 0.5), strict=True)]
    look = np.round(camera_of(viewer).view_direction)
    assert np.abs(look).tolist() == [1, 0, 0]
    for voxel in [(1, 5, 5), (10, 5, 5), (10, 35, 44)]:
        data[:] = 0
        data[voxel] = 200
        # along z through it
        position = np.array(voxel) * (2, 0.5, 0.5)
        # elsewhere each time: napari tells of no cursor that stays
        position[0] = (-50 - voxel[0] - voxel[1]) * look[0]
        expected = edges_of_box(*(tile_of(found, at) for found, at in zip(every, voxel, strict=True)))
        expected = placed(expected, [0, 1, 2], 3, scale=(2, 0.5, 0.5))
        points_at(qtbot, viewer, tuple(position), expected, [0, 1, 2])


def test_in_3d_a_series_and_a_plane_lie_beside_the_volume(qtbot, viewer, open_widget, quiet):
    data = np.zeros((12, 40, 48), np.uint8)
    data[10, 35, 44] = 200
    volume = viewer.add_image(data, name="nuclei")
    series = viewer.add_image(np.zeros((3, *data.shape), np.uint8), name="series")
    plane = viewer.add_image(data[0], name="plane")
    viewer.dims.ndisplay = 3
    camera_of(viewer).set_view_direction((1, 0, 0), (0, -1, 0))
    viewer.cursor.position = (0, -50 * np.round(camera_of(viewer).view_direction)[0], 35, 44)
    assert voxel_under(volume, viewer, volume) == (10, 35, 44)
    assert voxel_under(series, viewer, series)[-2:] == (35, 44)
    assert voxel_under(plane, viewer, plane) is None


def test_the_tile_stays_while_z_moves(qtbot, viewer, open_widget, quiet):
    _, along, place = opened(viewer, "anisotropic")
    with_tiles(qtbot, viewer, open_widget, 4.0)
    rows, columns = along(4.0)[-2:]
    expected = placed(edges_of_box(tile_of(rows, 3), tile_of(columns, 4)), [1, 2], **place)
    points_at(qtbot, viewer, (viewer.dims.point[0], 1.5, 1.0), expected, [1, 2])
    for z in (0, 11, 4):
        viewer.dims.set_current_step(0, z)
        qtbot.wait(50)
        assert_same_lines(bright(drawn(viewer)), expected, [1, 2])
        assert_in_slice(viewer, drawn(viewer))


# --- it follows ---


def slider_of(edit):
    native = edit[0].native
    return native if isinstance(native, QSlider) else native.findChild(QSlider)


def drag(edit, part):
    """Hold the handle of a slider at a part of its way."""
    slider = slider_of(edit)
    slider.setSliderDown(True)
    slider.setSliderPosition(round(slider.minimum() + part * (slider.maximum() - slider.minimum())))
    QApplication.processEvents()


def test_it_follows_the_slider_of_the_edge(qtbot, viewer, open_widget, quiet):
    image, along, place = opened(viewer, "anisotropic")
    widget = with_tiles(qtbot, viewer, open_widget)

    def lines_become(expected):
        qtbot.waitUntil(lambda: assert_same_lines(lines_in_world(drawn(viewer)), expected, [1, 2]), timeout=10_000)

    for part in (0.2, 0.7, 0.4):
        drag(widget["kernel_size"].edge, part)
        edge = widget["kernel_size"].edge.value
        assert widget["kernel_size"].value == edge
        rows, columns = along(edge)[-2:]
        tile = edges_of_box(tile_of(rows, 20), tile_of(columns, 24))
        lines_become(placed(net(rows, columns) + tile, [1, 2], **place))
    slider_of(widget["kernel_size"].edge).setSliderDown(False)
    # what is drawn is what is equalized
    expected = nx.equalize_adapthist(image, kernel_size=edge).metadata["napari_exposure"]["steps"][-1]
    assert expected["kernel_size"] == edge
    # one for each axis
    widget["kernel_size"].value = (4.0, 10.0, 2.0)
    rows, columns = borders(40, 0.5, 10.0), borders(48, 0.25, 2.0)
    tile = edges_of_box(tile_of(rows, 20), tile_of(columns, 24))
    lines_become(placed(net(rows, columns) + tile, [1, 2], **place))


def test_it_follows_the_chosen_layer(qtbot, viewer, open_widget, quiet):
    a = viewer.add_image(np.zeros((12, 40, 48), np.uint8), name="a")
    b = viewer.add_image(np.zeros((12, 60, 30), np.uint8), name="b", scale=(1, 2, 2), translate=(0, 30, 30))
    before = heard(viewer, a, b)
    widget = with_tiles(qtbot, viewer, open_widget, 10.0)
    for layer, shape, step, move in [(b, (60, 30), 2, 30), (a, (40, 48), 1, 0), (b, (60, 30), 2, 30)]:
        # by itself with the active layer
        viewer.layers.selection.active = layer
        qtbot.waitUntil(lambda: drawn(viewer) is not None and drawn(viewer).name == f"{layer.name} - tiles")  # noqa: B023
        qtbot.wait(100)
        assert widget.layer == layer
        rows, columns = (borders(n, step, 10.0) for n in shape)
        tile = edges_of_box(tile_of(rows, shape[0] // 2), tile_of(columns, shape[1] // 2))
        expected = placed(net(rows, columns) + tile, [1, 2], 3, scale=(1, step, step), translate=(0, move, move))
        assert_same_lines(lines_in_world(drawn(viewer)), expected, [1, 2])
    viewer.window.remove_dock_widget(widget.native.parent())
    qtbot.waitUntil(lambda: list(viewer.layers) == [a, b])
    assert heard(viewer, a, b) == before


def test_it_follows_a_layer_that_is_placed_anew(qtbot, viewer, open_widget, quiet):
    # so large that neither sliders nor the cursor move with the other
    viewer.add_image(np.zeros((100, 5, 5), np.uint8), name="around", scale=(1, 100, 100), translate=(-40, -200, -200))
    image = viewer.add_image(np.zeros((12, 40, 48), np.uint8), name="nuclei")
    with_tiles(qtbot, viewer, open_widget, 5.0)
    place = {"scale": np.ones(3), "translate": np.zeros(3), "degrees": 0.0, "affine": None}
    moves = [
        {"scale": (2, 0.5, 0.25)},
        {"translate": (3, -20, 5)},
        {"rotate": 30},
        {"affine": np.array([[1, 0, 0, 2], [0, 2, 0, 3], [0, 0, 2, 4], [0, 0, 0, 1.0]])},
    ]
    for move in moves:
        for name, value in move.items():
            setattr(image, name, value)
            place["degrees" if name == "rotate" else name] = value
        qtbot.wait(400)
        rows, columns = (borders(n, step, 5.0) for n, step in zip((40, 48), place["scale"][-2:], strict=True))
        assert_net(drawn(viewer), rows, columns, [1, 2], {"ndim": 3, **place})
        assert_in_slice(viewer, drawn(viewer))


def test_lines_are_in_the_visible_plane_of_every_z_and_time(qtbot, viewer, open_widget, quiet):
    opened(viewer, "times")
    with_tiles(qtbot, viewer, open_widget, 3.0)
    for time, z in itertools.product(range(3), (0, 3, 5)):
        viewer.dims.set_current_step(0, time)
        viewer.dims.set_current_step(1, z)
        assert_in_slice(viewer, drawn(viewer))
    viewer.dims.ndisplay = 3
    for time in range(3):
        viewer.dims.set_current_step(0, time)
        assert_in_slice(viewer, drawn(viewer))


def test_lines_are_equally_thick_at_every_zoom(qtbot, viewer, open_widget, quiet):
    image = viewer.add_image(np.zeros((12, 40, 48), np.uint8), name="nuclei", scale=(2, 0.5, 0.25))
    with_tiles(qtbot, viewer, open_widget, 5.0)

    def pixels():
        layer, camera = drawn(viewer), camera_of(viewer)
        seen = {float(layer.scale[axis]) for axis in viewer.dims.displayed}
        assert len(seen) == 1
        return layer.edge_width * camera.zoom * seen.pop()

    first = pixels()
    assert 1 <= first <= 3
    for zoom in (0.3, 7, 100):
        camera_of(viewer).zoom = zoom
        assert pixels() == pytest.approx(first)
    viewer.dims.order = (2, 0, 1)
    assert pixels() == pytest.approx(first)
    viewer.dims.ndisplay = 3
    viewer.reset_view()
    assert pixels() == pytest.approx(first)
    image.scale = (3, 3, 3)
    qtbot.wait(300)
    assert pixels() == pytest.approx(first)


def test_it_follows_other_data_of_another_size(qtbot, viewer, open_widget, volume, quiet):
    source = viewer.add_image(volume, name="nuclei")
    with_tiles(qtbot, viewer, open_widget, 10.0)
    source.data = np.concatenate([volume, volume], axis=1)
    qtbot.wait(300)
    rows, columns = borders(80, 1, 10.0), borders(48, 1, 10.0)
    tile = edges_of_box(tile_of(rows, 20), tile_of(columns, 24))
    assert_same_lines(lines_in_world(drawn(viewer)), net(rows, columns) + tile, [1, 2])
    assert_in_slice(viewer, drawn(viewer))


def test_the_cursor_works_after_the_data_became_smaller(qtbot, viewer, open_widget, volume, quiet):
    source = viewer.add_image(volume, name="nuclei")
    with_tiles(qtbot, viewer, open_widget, 10.0)
    points_at(qtbot, viewer, (6, 38, 46), edges_of_box((29.5, 39.5), (38.5, 47.5)), [1, 2])
    source.data = volume[:, :20, :20].copy()
    qtbot.wait(300)
    points_at(qtbot, viewer, (6, 2, 2), edges_of_box((-0.5, 9.5), (-0.5, 9.5)), [1, 2])


@pytest.mark.parametrize("more", [True, False])
def test_data_with_another_number_of_axes(qtbot, viewer, open_widget, volume, quiet, more):
    before, after = (volume[0], volume) if more else (volume, volume[0])
    source = viewer.add_image(before.copy(), name="nuclei")
    with_tiles(qtbot, viewer, open_widget, 10.0)
    if not give(source, after.copy()):
        return
    qtbot.wait(300)
    # napari 0.6 has put the cursor into a corner
    viewer.cursor.position = (0, 20, 24)[-after.ndim :]
    rows, columns = borders(40, 1, 10.0), borders(48, 1, 10.0)
    layer = drawn(viewer)
    assert layer.ndim == after.ndim
    seen = [after.ndim - 2, after.ndim - 1]
    tile = edges_of_box(tile_of(rows, 20), tile_of(columns, 24))
    qtbot.waitUntil(lambda: assert_same_lines(lines_in_world(layer), net(rows, columns) + tile, seen))
    assert_in_slice(viewer, layer)


def test_an_image_seen_from_its_edge_can_be_zoomed(qtbot, viewer, open_widget, quiet):
    viewer.add_image(np.zeros((4, 5, 6, 7), np.uint8), name="times")
    viewer.add_image(np.zeros((40, 48), np.uint8), name="plane")
    with_tiles(qtbot, viewer, open_widget, 10.0)
    viewer.dims.order = (2, 3, 0, 1)
    camera_of(viewer).zoom *= 2
    viewer.dims.order = (0, 1, 2, 3)
    assert_in_slice(viewer, drawn(viewer))


def test_lines_are_in_the_visible_plane_among_other_units(qtbot, viewer, open_widget, volume, quiet):
    source = viewer.add_image(volume, name="um", scale=(2, 0.5, 0.5), units=("um",) * 3)
    viewer.add_image(volume, name="nm", scale=(2000, 500, 500), units=("nm",) * 3)
    viewer.layers.selection.active = source
    with_tiles(qtbot, viewer, open_widget, 5.0)
    viewer.dims.set_current_step(0, 4)
    np.testing.assert_array_equal(source._slice.image.raw, volume[4])
    layer = drawn(viewer)
    assert len(layer._view_indices) == len(layer.data)


def test_it_follows_another_unit(qtbot, viewer, open_widget, volume, quiet):
    source = viewer.add_image(volume, name="nuclei", scale=(2, 0.5, 0.5), units=("um",) * 3)
    with_tiles(qtbot, viewer, open_widget, 5.0)
    source.units = ("nm",) * 3
    qtbot.wait(300)
    assert drawn(viewer).units == source.units


# --- it goes ---


def test_another_number_for_the_same_tiles_leaves_the_lines(qtbot, viewer, open_widget, volume):
    viewer.add_image(volume, name="nuclei")
    widget = with_tiles(qtbot, viewer, open_widget)
    previewed(qtbot, widget)
    layer, before = drawn(viewer), lines_in_world(drawn(viewer))
    drag(widget["clip_limit"], 0.8)
    previewed(qtbot, widget)
    assert drawn(viewer) is layer
    np.testing.assert_array_equal(lines_in_world(layer), before)


@pytest.mark.parametrize("way", ["switched off", "hidden", "removed by the user"])
def test_gone_it_leaves_nothing_behind(qtbot, viewer, open_widget, volume, quiet, way):
    source = viewer.add_image(volume, name="nuclei", scale=(2, 0.5, 0.5))
    widget = open_widget(NAME)
    qtbot.wait(200)
    before = heard(viewer, source)
    click(tiles_of(widget).switch)
    qtbot.waitUntil(lambda: drawn(viewer) is not None)
    during = heard(viewer, source)
    for key in [("dims", "point"), ("cursor", "position"), ("camera", "zoom"), ("layer 0", "scale")]:
        assert during[key] > before.get(key, 0)
    layer = weakref.ref(drawn(viewer))
    dock = widget.native.parent()
    if way == "switched off":
        click(tiles_of(widget).switch)
    elif way == "hidden":
        dock.hide()
        qtbot.waitUntil(lambda: drawn(viewer) is None)
        # comes again with the dock
        dock.show()
        qtbot.waitUntil(lambda: drawn(viewer) is not None)
        layer = weakref.ref(drawn(viewer))
        dock.hide()
    else:
        viewer.layers.remove(layer())
    qtbot.waitUntil(lambda: drawn(viewer) is None)
    qtbot.wait(300)
    assert list(viewer.layers) == [source]
    assert tiles_of(widget).switch.isChecked() == (way == "hidden")
    after = heard(viewer, source)
    # hidden, its histogram hears of nothing as well
    assert after == before if way != "hidden" else all(after[key] <= before[key] for key in after)
    viewer.cursor.position = (2, 2, 2)
    viewer.dims.set_current_step(0, 1)
    source.scale = (1, 1, 1)
    qtbot.wait(300)
    assert list(viewer.layers) == [source]
    qtbot.waitUntil(lambda: gc.collect() is None or layer() is None, timeout=3000)


def test_closed_it_leaves_nothing_behind(qtbot, viewer, open_widget, volume, quiet):
    source = viewer.add_image(volume, name="nuclei")
    qtbot.wait(100)
    before = heard(viewer, source)
    widget = with_tiles(qtbot, viewer, open_widget)
    layer, overlay = weakref.ref(drawn(viewer)), weakref.ref(tiles_of(widget).overlay)
    viewer.window.remove_dock_widget(widget.native.parent())
    qtbot.waitUntil(lambda: list(viewer.layers) == [source])
    qtbot.wait(300)
    assert list(viewer.layers) == [source]
    after = heard(viewer, source)
    assert after == before
    del widget
    qtbot.waitUntil(lambda: gc.collect() is None or layer() is None, timeout=3000)
    assert overlay() is None or overlay().layer is None


def test_it_goes_with_its_source_and_comes_with_the_next(qtbot, viewer, open_widget, volume, quiet):
    widget = open_widget(NAME)
    # with no layer there is nothing to draw
    click(tiles_of(widget).switch)
    qtbot.wait(100)
    assert len(viewer.layers) == 0
    counts = []
    for _ in range(3):
        source = viewer.add_image(volume, name="nuclei")
        qtbot.waitUntil(lambda: drawn(viewer) is not None)
        viewer.layers.remove(source)
        assert len(viewer.layers) == 0
        qtbot.wait(300)
        assert len(viewer.layers) == 0
        assert tiles_of(widget).switch.isChecked()
        assert tiles_of(widget).overlay._image is None
        counts.append(heard(viewer))
    assert counts[0] == counts[1] == counts[2]


def test_the_last_image_removed_is_forgotten(qtbot, viewer, open_widget, volume, quiet):
    widget = open_widget(NAME)
    source = viewer.add_image(volume, name="nuclei")
    qtbot.wait(200)
    viewer.layers.remove(source)
    qtbot.wait(200)
    assert widget.layer is None
    assert not any(map(of_plugin, source.events.scale.callbacks))


def test_closing_the_window_with_tiles_on_is_quiet(qtbot, viewer, open_widget, volume, messages):
    viewer.add_image(volume, name="nuclei")
    widget = with_tiles(qtbot, viewer, open_widget)
    previewed(qtbot, widget)
    viewer.dims.ndisplay = 3
    assert messages() == []


# --- one contrast for both ---


def side_by_side(qtbot, viewer, open_widget, source):
    widget = open_widget(NAME)
    previewed(qtbot, widget)
    beside, linked = widget.bar.ways["Side by side"], widget.bar.linked
    own = tuple(result_of(widget).contrast_limits)
    click(beside)
    assert tuple(result_of(widget).contrast_limits) == own != tuple(source.contrast_limits)
    assert not layer_is_linked(source)
    click(linked)
    return widget, own


def assert_one_contrast(source, result):
    assert layer_is_linked(source)
    assert layer_is_linked(result)
    assert tuple(result.contrast_limits) == tuple(source.contrast_limits)
    low, high = source.contrast_limits
    source.contrast_limits = low + 1, high - 7
    assert tuple(result.contrast_limits) == (low + 1, high - 7)
    result.contrast_limits = low, high
    assert tuple(source.contrast_limits) == (low, high)


def assert_two_contrasts(source, result, own):
    assert not layer_is_linked(source)
    assert not layer_is_linked(result)
    assert tuple(result.contrast_limits) == own
    before = tuple(source.contrast_limits)
    result.contrast_limits = own[0], own[1] / 2
    assert tuple(source.contrast_limits) == before
    result.contrast_limits = own


def test_the_contrast_of_the_source_holds_for_both(qtbot, viewer, open_widget, volume):
    source = viewer.add_image(volume, name="nuclei", contrast_limits=(50, 900))
    widget, own = side_by_side(qtbot, viewer, open_widget, source)
    beside, linked, result = widget.bar.ways["Side by side"], widget.bar.linked, result_of(widget)
    assert tuple(source.contrast_limits) == (50, 900)
    assert_one_contrast(source, result)
    # nothing else is linked
    result.gamma, result.opacity = 0.5, 0.7
    assert (source.gamma, source.opacity) == (1, 1)
    source.contrast_limits = 30, 700
    click(linked)
    assert tuple(source.contrast_limits) == (30, 700)
    assert_two_contrasts(source, result, own)
    click(linked)
    assert_one_contrast(source, result)
    # not side by side
    click(beside)
    assert_two_contrasts(source, result, own)
    assert tuple(source.contrast_limits) == (30, 700)
    click(beside)
    assert_one_contrast(source, result)


def test_one_contrast_survives_knobs_and_apply(qtbot, viewer, open_widget, volume):
    source = viewer.add_image(volume, name="nuclei", contrast_limits=(50, 900))
    widget, own = side_by_side(qtbot, viewer, open_widget, source)
    for part in (0.3, 0.8):
        drag(widget["clip_limit"], part)
        previewed(qtbot, widget)
        assert_one_contrast(source, result_of(widget))
    live = result_of(widget)
    click(widget.bar.apply)
    qtbot.waitUntil(lambda: not widget.running, timeout=20_000)
    result = viewer.layers["nuclei - adaptive"]
    assert_one_contrast(source, result)
    # computed in its place
    assert result is live
    click(widget.bar.linked)
    assert_two_contrasts(source, result, own)
    click(widget.bar.linked)
    # the next live layer takes the place of the result, which has its own again
    drag(widget["clip_limit"], 0.5)
    previewed(qtbot, widget)
    assert_one_contrast(source, result_of(widget))
    assert not layer_is_linked(result)
    assert tuple(result.contrast_limits) == own


def test_integers_and_floats_have_no_contrast_in_common(qtbot, viewer, open_widget, volume):
    source = viewer.add_image(volume, name="nuclei", contrast_limits=(50, 900))
    widget, own = side_by_side(qtbot, viewer, open_widget, source)
    linked = widget.bar.linked
    widget["output"].value = "float32"
    previewed(qtbot, widget, lambda: result_of(widget).data.dtype == np.float32)
    assert not linked.isEnabled()
    assert linked.isChecked()
    assert_two_contrasts(source, result_of(widget), (0, 1))
    assert grid_of(viewer).enabled
    # as soon as it means something again
    widget["output"].value = "dtype"
    previewed(qtbot, widget, lambda: result_of(widget).data.dtype == np.uint16)
    assert linked.isEnabled()
    assert_one_contrast(source, result_of(widget))
    click(linked)
    assert_two_contrasts(source, result_of(widget), own)


def test_floats_of_floats_have_one_contrast(qtbot, viewer, open_widget, volume):
    source = viewer.add_image((volume / 1000).astype(SWAPPED_FLOATS), name="nuclei", contrast_limits=(0.1, 0.8))
    widget = open_widget("Gamma")
    previewed(qtbot, widget)
    click(widget.bar.ways["Side by side"])
    click(widget.bar.linked)
    assert tuple(result_of(widget).contrast_limits) == (0.1, 0.8)
    source.contrast_limits = 0.2, 0.5
    assert tuple(result_of(widget).contrast_limits) == (0.2, 0.5)


def test_colours_have_no_contrast(qtbot, viewer, open_widget):
    viewer.add_image(np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8), rgb=True)
    widget = open_widget(NAME)
    previewed(qtbot, widget)
    click(widget.bar.ways["Side by side"])
    assert not widget.bar.linked.isEnabled()


@pytest.mark.parametrize("way", ["closed", "hidden", "preview off", "another layer"])
def test_one_contrast_ends_with_the_comparison(qtbot, viewer, open_widget, volume, way):
    other = viewer.add_image(volume[:, ::-1].copy(), name="other")
    source = viewer.add_image(volume, name="nuclei", contrast_limits=(50, 900))
    before = heard(viewer, source, other)
    widget, _ = side_by_side(qtbot, viewer, open_widget, source)
    result, dock = weakref.ref(result_of(widget)), widget.native.parent()
    if way == "closed":
        viewer.window.remove_dock_widget(dock)
    elif way == "hidden":
        dock.hide()
    elif way == "preview off":
        click(widget.bar.live)
    else:
        viewer.layers.selection.active = other
        qtbot.waitUntil(lambda: widget.layer == other)
        qtbot.waitUntil(lambda: layer_is_linked(other), timeout=5000)
        assert_one_contrast(other, result_of(widget))
        click(widget.bar.live)
    qtbot.waitUntil(lambda: list(viewer.layers) == [other, source])
    assert not layer_is_linked(source)
    assert not layer_is_linked(other)
    assert tuple(source.contrast_limits) == (50, 900)
    assert not grid_of(viewer).enabled
    assert [source.visible, other.visible] == [True, True]
    qtbot.waitUntil(lambda: gc.collect() is None or result() is None, timeout=3000)
    if way == "closed":
        after = heard(viewer, source, other)
        assert after == before


def test_a_result_removed_by_the_user_ends_the_comparison(qtbot, viewer, open_widget, volume):
    other = viewer.add_image(volume, name="other")
    source = viewer.add_image(volume, name="nuclei", contrast_limits=(50, 900))
    widget, _ = side_by_side(qtbot, viewer, open_widget, source)
    click(widget.bar.apply)
    qtbot.waitUntil(lambda: not widget.running, timeout=20_000)
    viewer.layers.remove("nuclei - adaptive")
    qtbot.wait(300)
    assert not grid_of(viewer).enabled
    assert [source.visible, other.visible] == [True, True]
    assert not widget.bar.compare.isEnabled()


def test_a_layer_chosen_in_the_widget_stays_chosen(qtbot, viewer, open_widget, volume):
    a = viewer.add_image(volume, name="a")
    b = viewer.add_image(volume, name="b")
    widget = open_widget(NAME)
    previewed(qtbot, widget)
    assert widget.layer == b
    # as from the list
    widget.header.layer.native.setCurrentIndex(0)
    assert widget.layer == a
    qtbot.wait(400)
    assert widget.layer == a


# --- everything at once ---


@pytest.fixture
def clean(qtbot, viewer, volume):
    """Two layers of the user's; when asked, all docks are closed, and nothing but these may be left."""
    layers = [viewer.add_image(volume[:, ::step].copy(), name=name) for name, step in (("a", 1), ("b", -1))]
    qtbot.wait(100)
    before = heard(viewer, *layers)

    def check(*removed):
        viewer.window.remove_dock_widget("all")
        left = [layer for layer in layers if layer not in removed]
        qtbot.waitUntil(lambda: no_workers() and list(viewer.layers) == left, timeout=20_000)
        qtbot.wait(500)
        assert list(viewer.layers) == left
        qtbot.waitUntil(no_workers, timeout=30_000)
        if not removed:
            after = heard(viewer, *layers)
            assert after == before
        assert all(layer.visible and not layer_is_linked(layer) for layer in left)

    check.layers = layers
    return check


def test_dragging_while_stepping_through_z(qtbot, viewer, open_widget, clean):
    widget = with_tiles(qtbot, viewer, open_widget)
    for k in range(40):
        drag(widget["clip_limit"], abs(k % 20 - 10) / 10)
        drag(widget["kernel_size"].edge, 0.2 + k / 60)
        viewer.dims.set_current_step(0, k % 12)
        viewer.cursor.position = (k % 12, k, k)
        QApplication.processEvents()
    slider_of(widget["clip_limit"]).setSliderDown(False)
    slider_of(widget["kernel_size"].edge).setSliderDown(False)
    previewed(qtbot, widget)
    qtbot.wait(400)
    edge = widget["kernel_size"].edge.value
    assert result_of(widget).data.transform.adjustment.kernel_size == edge
    rows, columns = borders(40, 1, edge), borders(48, 1, edge)
    tile = edges_of_box(tile_of(rows, 39), tile_of(columns, 39))
    assert_same_lines(lines_in_world(drawn(viewer)), net(rows, columns) + tile, [1, 2])
    assert_in_slice(viewer, drawn(viewer))
    assert len(viewer.layers) == 4
    clean()


@pytest.mark.parametrize("without", ["tiles", "live", None])
def test_the_source_goes_in_the_middle_of_a_drag(qtbot, viewer, open_widget, clean, slow, without):
    a, b = clean.layers
    widget = with_tiles(qtbot, viewer, open_widget)
    if without is not None:
        click({"live": widget.bar.live, "tiles": tiles_of(widget).switch}[without])
    assert widget.layer == b
    for k in range(20):
        drag(widget["kernel_size"].edge, 0.2 + k / 40)
        drag(widget["clip_limit"], k / 20)
        if k == 8:
            viewer.layers.remove(b)
    if without != "live":
        previewed(qtbot, widget)
    qtbot.wait(400)
    names = {"live": "a - exposure", "tiles": "a - tiles"}
    assert [layer.name for layer in viewer.layers] == ["a", *(name for key, name in names.items() if key != without)]
    assert widget.layer == a
    clean(b)


def test_the_only_source_goes_with_preview_and_tiles(qtbot, viewer, open_widget, volume):
    for _ in range(2):
        source = viewer.add_image(volume, name="nuclei")
        widget = open_widget(NAME)
        tiles_of(widget).switch.setChecked(True)
        previewed(qtbot, widget)
        qtbot.waitUntil(lambda: drawn(viewer) is not None)
        viewer.layers.remove(source)
        qtbot.wait(300)
        assert len(viewer.layers) == 0
        qtbot.waitUntil(no_workers, timeout=30_000)


@pytest.mark.parametrize("first", [0, 1, 2])
def test_source_preview_and_tiles_are_deleted_together(qtbot, viewer, open_widget, volume, delete_selected, first):
    viewer.add_image(volume, name="nuclei")
    widget = open_widget(NAME)
    tiles_of(widget).switch.setChecked(True)
    previewed(qtbot, widget)
    qtbot.waitUntil(lambda: drawn(viewer) is not None)
    # when the widget has rested, it answers at once
    qtbot.wait(300)
    viewer.layers.select_all()
    delete_selected(first=viewer.layers[first])
    qtbot.wait(300)
    assert len(viewer.layers) == 0
    qtbot.waitUntil(no_workers, timeout=30_000)


def test_turning_to_3d_and_back_while_jobs_run(qtbot, viewer, open_widget, clean, slow):
    widget = with_tiles(qtbot, viewer, open_widget)
    for k in range(16):
        drag(widget["clip_limit"], k / 16)
        viewer.dims.ndisplay = 5 - viewer.dims.ndisplay
        viewer.cursor.position = (k % 12, 2 * k, 2 * k)
        QApplication.processEvents()
        qtbot.wait(20)
        assert len(drawn(viewer).data) == 24 if viewer.dims.ndisplay == 3 else len(drawn(viewer).data) > 4
    assert viewer.dims.ndisplay == 2
    previewed(qtbot, widget)
    viewer.dims.ndisplay = 3
    clean()


def test_two_widgets_on_two_layers(qtbot, viewer, open_widget, clean):
    a, b = clean.layers
    widget = with_tiles(qtbot, viewer, open_widget)
    gamma = open_widget("Gamma")
    qtbot.wait(200)
    # docks of one place lie on tabs: both are to be seen
    viewer.window._qt_window.resize(1300, 950)
    viewer.window._qt_window.splitDockWidget(widget.native.parent(), gamma.native.parent(), Qt.Orientation.Horizontal)
    # a preview that goes makes its source active, which both would follow
    viewer.layers.selection.active = a
    qtbot.waitUntil(lambda: (widget.layer, gamma.layer) == (a, a))
    # of one layer there is one live layer, that of the dock that was touched last
    previewed(qtbot, gamma)
    qtbot.waitUntil(lambda: result_of(widget) is None)
    viewer.layers.selection.clear()
    qtbot.wait(100)
    gamma.header.layer.value = b
    qtbot.wait(200)
    assert (widget.layer, gamma.layer) == (a, b)
    previewed(qtbot, gamma)
    previewed(qtbot, widget, lambda: widget.bar.compare.isEnabled())
    click(widget.bar.ways["Side by side"])
    click(widget.bar.linked)
    assert [widget.bar.ways["Side by side"].isChecked(), widget.bar.linked.isChecked()] == [True, True]
    assert_one_contrast(a, result_of(widget))
    for k in range(10):
        drag(widget["clip_limit"], k / 10)
        drag(gamma["gamma"], 1 - k / 10)
        viewer.dims.set_current_step(0, k)
    previewed(qtbot, widget)
    previewed(qtbot, gamma)
    qtbot.wait(300)
    assert drawn(viewer).name == "a - tiles"
    expected = nx.equalize_adapthist(a, clip_limit=widget["clip_limit"].value).data[4]
    np.testing.assert_array_equal(result_of(widget).data[4], expected)
    np.testing.assert_array_equal(result_of(gamma).data[4], nx.adjust_gamma(b, gamma["gamma"].value).data[4])
    assert len(viewer.layers) == 5
    clean()


def test_another_theme_during_a_preview(qtbot, viewer, open_widget, clean, slow):
    widget = with_tiles(qtbot, viewer, open_widget)
    for theme in ("light", "dark", "light"):
        drag(widget["clip_limit"], 0.9 if theme == "light" else 0.4)
        viewer.theme = theme
        QApplication.processEvents()
    previewed(qtbot, widget)
    assert tiles_of(widget).switch.isChecked()
    assert drawn(viewer) is not None
    clean()


def test_a_floating_dock_is_closed(qtbot, viewer, open_widget, clean):
    widget = with_tiles(qtbot, viewer, open_widget)
    previewed(qtbot, widget)
    click(widget.bar.ways["Side by side"])
    click(widget.bar.linked)
    dock = widget.native.parent()
    for floating in (True, False, True):
        dock.setFloating(floating)
        qtbot.wait(100)
        previewed(qtbot, widget)
        qtbot.waitUntil(lambda: drawn(viewer) is not None)
    assert_one_contrast(clean.layers[1], result_of(widget))
    # beside each other there are no others
    viewer.window.remove_dock_widget(dock)
    clean()
