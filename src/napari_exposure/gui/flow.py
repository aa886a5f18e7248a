"""A row of widgets that goes on below where there is no room for all of them."""

from __future__ import annotations

from qtpy.compat import isalive
from qtpy.QtWidgets import QLayoutItem
from superqt import QFlowLayout


class Flow(QFlowLayout):
    """superqt's, without what Qt has deleted: of a window that closes PySide6 still asks for sizes in between."""

    _items: list[QLayoutItem]

    @property
    def _item_list(self) -> list[QLayoutItem]:
        """What superqt's layout lays out."""
        self._items = [item for item in self._items if isalive(item)]
        return self._items

    @_item_list.setter
    def _item_list(self, items: list[QLayoutItem]) -> None:
        self._items = items
