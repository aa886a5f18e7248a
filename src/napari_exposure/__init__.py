"""Exposure adjustments of 3D volumes in napari: gamma, percentile clipping, histogram and adaptive equalization.

A verb takes a napari Image layer and gives a new one, or an array of any kind and gives an array.  They live in
``napari_exposure.core``, which needs neither napari nor Qt.
"""

import lazy_loader as _lazy

# The names are in __init__.pyi, where editors and type checkers see them too.  Each of its lines has the form
# "from .core import Gamma as Gamma", so the words of a line say all.  lazy_loader.attach_stub would read the same,
# but it imports ast for that, which would take three quarters of the time of this import.
with open(__file__.rpartition(".")[0] + ".pyi", encoding="utf-8") as _stub:
    _names = [_line.split()[1:4:2] for _line in _stub]
__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    [_name for _module, _name in _names if _module == "."],
    {_own[1:]: [_name for _module, _name in _names if _module == _own] for _own, _ in _names if _own != "."},
)
