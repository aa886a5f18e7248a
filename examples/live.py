"""Opens the Exposure dock with two cards and its live layer: turn the sliders and watch.

python examples/live.py                     opens napari
python examples/live.py --pictures FOLDER   saves the pictures of docs/live.md there, and ends
"""

from showing import Show, ask, wait_for

from napari_exposure import AdaptiveEqualization, PercentileClip


def main() -> None:
    show = Show("napari-exposure: live preview", ask(__doc__).pictures)
    viewer = show.viewer
    viewer.open_sample("napari-exposure", "nuclei")
    _, dock = viewer.window.add_plugin_dock_widget("napari-exposure", "Exposure")
    for kind in (PercentileClip, AdaptiveEqualization):
        dock.add_card(kind)
    clip, adaptive = dock.cards.views
    clip.fold(True)
    # the tile under the cursor, and the borders of all
    adaptive.extras[0].switch.setChecked(True)
    viewer.cursor.position = (8.4, 22.0, 30.0)
    adaptive.editors["kernel_size"].value = 10.0
    wait_for(lambda: dock.up_to_date)
    show.picture("live.png", lambda: dock.up_to_date)
    # the same in 3D
    viewer.dims.ndisplay = 3
    viewer.scene.camera.angles = (15, 30, 60)
    show.picture("live3d.png", lambda: dock.up_to_date)
    show.end()


if __name__ == "__main__":
    main()
