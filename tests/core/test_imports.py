import subprocess
import sys

GUI = ("napari", "qtpy", "PyQt5", "PyQt6", "PySide2", "PySide6", "magicgui", "superqt", "pyqtgraph", "vispy")


def run(code):
    # an interpreter of its own: the one of the tests may have loaded anything
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_core_imports_neither_napari_nor_qt_nor_numba():
    loaded = run("import sys, napari_exposure.core; print(*{name.partition('.')[0] for name in sys.modules})")
    assert "napari_exposure" in loaded
    assert not loaded & {*GUI, "numba", "skimage", "dask", "scipy", "matplotlib"}


def test_core_at_work_loads_neither_napari_nor_qt():
    loaded = run(
        "import sys, numpy as np, napari_exposure.core as core\n"
        "volume = np.arange(5 * 20 * 20, dtype=np.uint16).reshape(5, 20, 20)\n"
        "core.adjust_gamma(volume, 0.5)\n"
        "core.clip_percentiles(volume)\n"
        "core.equalize_hist(volume)\n"
        "core.equalize_adapthist(volume, 8)\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    assert "numba" in loaded
    assert not loaded & set(GUI)
