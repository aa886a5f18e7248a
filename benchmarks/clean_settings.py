"""Clean settings for napari, which reads this variable when it is imported: import this module first.

Cards would begin with what somebody applied last on this machine, such as tiles that are much smaller.
"""

import atexit
import os
import tempfile

_folder = tempfile.TemporaryDirectory()
atexit.register(_folder.cleanup)
os.environ["NAPARI_CONFIG"] = os.path.join(_folder.name, "settings.yaml")
