"""The same voxel has the same value on every processor, in every layout: digests of small cases are kept here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from numpy._core import _multiarray_umath

from core import same_bits

FOLDER = Path(__file__).parent
DIGESTS = json.loads((FOLDER / "same_bits.json").read_text())


def test_every_case_has_a_digest():
    assert DIGESTS.keys() == same_bits.CASES.keys()


@pytest.mark.parametrize("layout", same_bits.LAYOUTS)
@pytest.mark.parametrize("case", same_bits.CASES)
def test_results_are_the_same_bits_in_every_layout(case, layout):
    assert same_bits.digest(case, layout) == DIGESTS[case]


def old_numpy_and_blas():
    """Environment of a processor without the vector instructions that NumPy and BLAS choose their functions by."""
    there = _multiarray_umath.__cpu_features__
    chosen = [name for name in _multiarray_umath.__cpu_dispatch__ if there.get(name)]
    return {
        "NPY_DISABLE_CPU_FEATURES": " ".join(chosen),
        "OPENBLAS_CORETYPE": "Nehalem",
        # the C library's choice, of its powers and logarithms too
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX2,-FMA,-FMA4",
    }


def old_compiler():
    """Environment in which kernels are compiled for the oldest processor of this kind."""
    return {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_NUM_THREADS": "1"}


# to compile all kernels anew takes long: these have powers, exponentials, sums and blends of floats
COMPILED = (
    "gamma uint8",
    "gamma uint32",
    "gamma float32",
    "equalize float32",
    "adaptive float32",
    "profile smooth",
    "histogram float32",
)


@pytest.mark.parametrize(("environment", "cases"), [(old_numpy_and_blas, ()), (old_compiler, COMPILED)])
def test_results_are_the_same_bits_on_an_older_processor(environment, cases):
    command = [sys.executable, FOLDER / "same_bits.py", *cases]
    done = subprocess.run(
        command, env=os.environ | environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == {case: DIGESTS[case] for case in cases or DIGESTS}
