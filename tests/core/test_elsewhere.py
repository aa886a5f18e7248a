"""Kernels that another process compiles, and what becomes of those that it does not."""

import os
import subprocess
import sys

import numpy as np
import pytest

from napari_exposure.core import elsewhere, progress

# It answers without compiling, after a module has printed something.
ANSWERS = "import sys\nprint('hello', flush=True)\nfor line in sys.stdin: print(line.strip(), flush=True)"


@pytest.fixture
def other(monkeypatch):
    """Have another process run some code, and end it after the test."""

    def begin(code):
        monkeypatch.setattr(elsewhere, "CODE", code)
        elsewhere.begin()

    yield begin
    elsewhere.end()


def run(code, folder):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=200
    ).stdout.split()


def test_what_the_other_process_compiles_is_loaded_here(tmp_path):
    code = """
import numpy as np
from napari_exposure.core import elsewhere, kernels
{}
found = kernels.build("map_table", np.dtype("uint8"), np.dtype("float32"))
print(sum(found.stats.cache_hits.values()), elsewhere._wanted)
elsewhere.end()
"""
    assert run(code.format("elsewhere.begin()"), tmp_path / "a") == ["1", "True"]
    assert run(code.format(""), tmp_path / "b") == ["0", "False"]
    # Where all is in the cache no other process begins.
    ready = "elsewhere.begin(); elsewhere.Compiler = None"
    assert run(code.format(ready), tmp_path / "a") == ["1", "True"]


def test_the_other_process_ends_with_its_requests_whatever_they_are():
    done = subprocess.run(
        [sys.executable, "-c", elsewhere.CODE],
        input="log\nnothing float32\nmap_table uint8 nothing\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    assert done.stdout.splitlines() == ["log", "nothing float32", "map_table uint8 nothing"]


def test_answers_to_others_are_passed_over(other):
    other(ANSWERS)
    elsewhere.compile_elsewhere("map_table", np.dtype("uint8"), np.dtype("float32"))
    assert elsewhere._compiler is not None


def test_waiting_can_be_canceled_and_the_late_answer_is_passed_over(other):
    other("import time, sys; time.sleep(1)\nfor line in sys.stdin: print(line.strip(), flush=True)")

    def stop(*step):
        raise progress.Cancelled

    with pytest.raises(progress.Cancelled), progress.listening(lambda step: None, stop):
        elsewhere.compile_elsewhere("log")
    elsewhere.compile_elsewhere("exp")
    assert elsewhere._compiler is not None


@pytest.mark.parametrize("code", ["raise SystemExit", "import time; time.sleep(100)", "import sys; sys.stdin.close()"])
def test_a_process_that_fails_is_not_asked_again(other, code, monkeypatch):
    monkeypatch.setattr(elsewhere, "PATIENCE", 0.3)
    other(code)
    elsewhere.compile_elsewhere("log")
    assert elsewhere._compiler is None
    monkeypatch.setattr(elsewhere, "Compiler", lambda: pytest.fail("It began anew."))
    elsewhere.compile_elsewhere("log")


@pytest.mark.parametrize(("executable", "frozen"), [("/opt/napari/bin/napari", False), ("", False), (None, True)])
def test_an_application_does_not_begin_anew(monkeypatch, executable, frozen):
    if executable is not None:
        monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(sys, "frozen", frozen, raising=False)
    monkeypatch.setattr(elsewhere, "Compiler", lambda: pytest.fail("It began anew."))
    elsewhere.begin()
    elsewhere.compile_elsewhere("log")
    elsewhere.end()


def test_a_module_in_the_folder_of_the_user_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / "numba.py").write_text("raise SystemExit(1)\n")
    monkeypatch.chdir(tmp_path)
    compiler = elsewhere.Compiler()
    try:
        assert compiler.compile("nothing float32")
    finally:
        compiler.end()
