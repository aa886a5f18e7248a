"""A time series whose lamp flickers and whose dye bleaches: seen as a strip, corrected, and equalized without pulsing.

python examples/time_series.py                     opens napari on the results
python examples/time_series.py --pictures FOLDER   saves the pictures of docs/time_series.md there, prints figures, ends

The sample are the real nuclei, which come with the extra `samples`, under a light that is simulated: it falls to 40 %
over 24 time points and flickers by up to 8 %; photons are counted, and the camera adds 100.
"""

import numpy as np
from showing import Show, ask, wait_for

import napari_exposure as nx
from napari_exposure.samples import load_nuclei

POINTS, BLACK = 24, 100


def make_movie() -> tuple[np.ndarray, np.ndarray]:
    """A movie of shape (24, 12, 192, 192), and the light at each time point."""
    rng = np.random.default_rng(1)
    light = 0.4 ** (np.arange(POINTS) / (POINTS - 1)) * (1 + 0.08 * rng.uniform(-1, 1, POINTS))
    nuclei = load_nuclei()[20:44:2, :192, :192]
    sample = 40 + 1500.0 * nuclei / nuclei.max()
    return np.stack([rng.poisson(sample * each) + BLACK for each in light]).astype(np.uint16), light


def jump(movie: np.ndarray) -> str:
    """How much the mean changes from one time point to the next, and how the last compares with the first."""
    means = movie.reshape(len(movie), -1).mean(axis=1, dtype=float)
    return f"{np.abs(np.diff(means)).mean() / means.mean():.4f}, last / first {means[-1] / means[0]:.3f}"


def main() -> None:
    show = Show("napari-exposure: time series", ask(__doc__).pictures, (1366, 768))
    viewer = show.viewer
    movie, light = make_movie()
    named = {"axis_labels": ("t", "z", "y", "x"), "scale": (60, 0.58, 0.26, 0.26), "units": ("s", "um", "um", "um")}
    viewer.add_image(movie, name="movie", contrast_limits=(BLACK, 1600), **named)

    # flicker and bleaching at a glance
    _, panel = viewer.window.add_plugin_dock_widget("napari-exposure", "Histogram & CDF")
    wait_for(lambda: panel.along.count() > 1)
    panel.along.setCurrentIndex(panel.along.findText("Strip along t"))
    viewer.dims.set_current_step(0, 9)
    wait_for(lambda: panel.strip.counts.any() and not panel.strip.counting)
    show.all()
    show.picture("time_strip.png", lambda: not panel.counter.running)
    viewer.window.remove_dock_widget(panel)

    # the three ways of Fiji's Bleach Correction
    corrected = {}
    print(f"as it is, above the black level: {jump(movie.astype(float) - BLACK)}")
    for model in ("exponential", "ratio", "histogram"):
        transform = nx.DecayCorrection("t", model, background=float(BLACK)).fit(movie)
        corrected[model] = transform.apply(movie)
        print(f"{model}: {jump(corrected[model].astype(float) - BLACK)}", end="; ")
        print(f"correlation with the light {np.corrcoef(1 / transform.gains, light)[0, 1]:.5f}")

    # equalized: each time point alone, and with those around it
    for name, series, window in (("alone", movie, 1), ("window of 9", corrected["histogram"], 9)):
        found = nx.equalize_adapthist(series, 32.0, per="volume", window=window)
        print(f"adaptive equalization, {name}: {jump(found)}")

    # the same from the card, whose plot goes over time
    _, widget = viewer.window.add_plugin_dock_widget("napari-exposure", "Depth correction")
    for parameter, value in {"axis": "t", "model": "ratio", "background": float(BLACK)}.items():
        widget[parameter].value = value
    wait_for(lambda: widget.up_to_date)
    viewer.dims.set_current_step(0, POINTS - 1)
    widget.bar.ways["Side by side"].setChecked(True)
    show.all()
    show.picture("time_series.png", lambda: widget.up_to_date and not widget.running)
    show.end()


if __name__ == "__main__":
    main()
