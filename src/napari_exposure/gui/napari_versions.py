"""Every difference between the versions of napari that the plugin runs on, from 0.6.6 to the newest.

Each part says from which version on it can go.  Nothing else in the plugin asks which napari is running.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import yaml
from napari.settings import get_settings

try:
    from napari.settings import get_plugin_settings as plugin_settings
except ImportError:
    # This can go, with `_KeptSettings`, when napari 0.8 does, because napari 0.9 keeps the settings of plugins.
    def plugin_settings(plugin: str) -> _KeptSettings:  # type: ignore[no-redef]  # it takes the place of the other
        """The settings of a plugin, kept as napari 0.9 keeps them and in the file where it looks for them.

        There are no Preferences for them: what the user can change there is changed in the file.
        """
        own = get_settings().config_path
        return _KeptSettings(None if own is None else Path(own).with_name(f"{plugin}.yaml"))


class _KeptSettings:
    """What a file of settings says, for a napari that has no settings of plugins.

    Parameters
    ----------
    config_path : pathlib.Path or None
        The file; where napari itself keeps nothing (None), neither does this.
    """

    def __init__(self, config_path: Path | None):
        self.config_path = config_path

    @property
    def widgets(self) -> _Widgets:
        """The part that napari.yaml declares under `widgets`."""
        return _Widgets(self.config_path)


class _Widgets:
    """One part of a file of settings: each attribute is one of its lines, written when it is set."""

    _config_path: Path | None
    # napari.yaml declares this default, and an empty text for each other line.
    remember = True

    def __init__(self, config_path: Path | None):
        try:
            found = yaml.safe_load(config_path.read_text()) if config_path else None
        except (OSError, yaml.YAMLError):
            # The file is not there yet or cannot be read; napari, too, begins with the defaults then.
            found = None
        kept = found.get("widgets") if isinstance(found, dict) else None
        self.__dict__.update(kept if isinstance(kept, dict) else {}, _config_path=config_path)

    def __getattr__(self, name: str) -> str:
        if name.startswith("_"):
            raise AttributeError(name)
        return ""

    def __setattr__(self, name: str, value: str | bool) -> None:
        self.__dict__[name] = value
        if self._config_path:
            self._config_path.parent.mkdir(parents=True, exist_ok=True)
            kept = {key: each for key, each in vars(self).items() if not key.startswith("_")}
            self._config_path.write_text(yaml.safe_dump({"widgets": kept}, sort_keys=False))


def grid_of(viewer):
    """The grid of a viewer: `viewer.canvas.grid`, which was `viewer.grid` before 0.9.  Can go when 0.8 does."""
    return viewer.canvas.grid if hasattr(viewer, "canvas") else viewer.grid


def camera_of(viewer):
    """The camera of a viewer: `viewer.scene.camera`, which was `viewer.camera` before 0.9.  Can go when 0.8 does."""
    return viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera


def units_of(dims) -> tuple | None:
    """The units of a viewer's axes.  Before 0.7.1 a viewer had none, and drew all layers as if they had the same.

    Can go, with `units_events`, when 0.7.0 does.
    """
    return getattr(dims, "units", None)


def units_events(dims) -> tuple:
    """The emitter that tells of new units, or no emitter where a viewer has none: see `units_of`."""
    emitter = getattr(dims.events, "units", None)
    return () if emitter is None else (emitter,)


def name_overlay_of(layer):
    """What writes the name of a layer on the canvas, or None before 0.7, when napari did not.  Can go when 0.6 does."""
    return getattr(layer, "name_overlay", None)


def on_renamed(layers, hear: Callable[[], object]) -> tuple:
    """A callback and the emitters that call `hear` when a layer is renamed; no emitter where napari does so itself.

    Since 0.7 napari calls `reset_choices` of a dock then.  Can go when 0.6 does.
    """
    if hasattr(layers.events, "renamed"):
        return (hear,)
    return (lambda event: hear() if event.type == "name" else None), layers.events
