"""Opens the histogram panel on the nuclei: before and after an equalization, and the tile under the cursor.

python examples/histogram.py                     opens napari
python examples/histogram.py --pictures FOLDER   saves the pictures of docs/histogram.md there, and ends
"""

from showing import Show, ask, wait_for

import napari_exposure as nx


def main() -> None:
    show = Show("napari-exposure: histogram", ask(__doc__).pictures)
    viewer = show.viewer
    (nuclei,) = viewer.open_sample("napari-exposure", "nuclei")
    _, panel = viewer.window.add_plugin_dock_widget("napari-exposure", "Histogram & CDF")

    def counted():
        # the numbers are written a moment after they are known
        known = [value for _, value in panel.model.rows()]
        return not panel.counter.running and all(value in panel.numbers.toPlainText() for value in known)

    # before and after, and what the equalization makes of each intensity
    viewer.add_layer(nx.equalize_hist(nuclei))
    wait_for(lambda: panel.model.content.before is not None)
    show.picture("histogram.png", counted)

    # the histogram of one tile, where it is clipped, and the function that follows from it
    viewer.add_layer(nx.equalize_adapthist(nuclei, kernel_size=10.0))
    wait_for(lambda: panel.tile.isEnabled())
    panel.tile.setChecked(True)
    viewer.cursor.position = (8.4, 30.0, 39.0)
    wait_for(lambda: panel.model.tile is not None)
    show.picture("tile.png", counted)
    show.end()


if __name__ == "__main__":
    main()
