"""Opens the adaptive equalization with its live preview: turn the sliders and watch.

python examples/live.py                     opens napari
python examples/live.py --pictures FOLDER   saves the pictures of docs/live.md there, and ends
"""

from showing import Show, ask, wait_for


def main() -> None:
    show = Show("napari-exposure: live preview", ask(__doc__).pictures)
    viewer = show.viewer
    viewer.open_sample("napari-exposure", "nuclei")
    _, widget = viewer.window.add_plugin_dock_widget("napari-exposure", "Adaptive equalization")

    def exact():
        return "exact" in widget.said.value

    wait_for(exact)
    # the tile under the cursor, and the borders of all
    widget.looks.tiles.value = True
    viewer.cursor.position = (8.4, 22.0, 30.0)
    widget.said.value = ""  # so that it is of this edge that "exact" is said next
    widget.kernel_size.value = 10.0
    show.picture("live.png", exact)
    # the same in 3D
    viewer.dims.ndisplay = 3
    viewer.scene.camera.angles = (15, 30, 60)
    show.picture("live3d.png", lambda: exact() and "volume" in widget.said.value)
    show.end()


if __name__ == "__main__":
    main()
