"""Several magicgui widgets that are one editor."""

from __future__ import annotations

from magicgui import widgets


class Parts(widgets.Container):
    """A container without labels and margins, whose subclasses say what the value of their widgets together is."""

    def __init__(self, *parts: widgets.Widget, **options):
        super().__init__(widgets=parts, labels=False, **options)
        self.margins = (0, 0, 0, 0)
        self._explain()

    def _explain(self) -> None:
        """Give the parts that have no tooltip of their own that of the whole."""
        for part in self:
            part.tooltip = part.tooltip or self.tooltip
            if isinstance(part, Parts):
                part._explain()
