"""Exposure adjustments of 3D volumes in napari: gamma, percentile clipping, histogram and adaptive equalization.

A verb takes a napari Image layer and gives a new one, or an array of any kind and gives an array.  They live in
``napari_exposure.core``, which needs neither napari nor Qt.
"""

import lazy_loader as _lazy

# The names are in __init__.pyi, where editors and type checkers see them too.
__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
