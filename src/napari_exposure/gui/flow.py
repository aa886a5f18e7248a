"""A row of widgets that goes on below where there is no room for all of them."""

from __future__ import annotations

from qtpy.compat import isalive
from qtpy.QtWidgets import QLayoutItem
from superqt import QFlowLayout


class Flow(QFlowLayout):
    """superqt's layout without what Qt has deleted, because PySide6 asks for sizes even while a window closes."""

    _items: list[QLayoutItem]

    @property
    def _item_list(self) -> list[QLayoutItem]:
        """The items that superqt's layout lays out."""
        self._items = [item for item in self._items if isalive(item)]
        return self._items

    @_item_list.setter
    def _item_list(self, items: list[QLayoutItem]) -> None:
        self._items = items
