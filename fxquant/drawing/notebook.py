"""How a notebook shows a model: as its drawing."""

from __future__ import annotations


class ShownInNotebooks:
    """Base of the classes of models that prepare_fx and convert_fx return."""

    def _repr_html_(self) -> str:
        from fxquant.drawing.describe import drawing_of  # which knows all classes of models

        return drawing_of(self)._repr_html_()  # type: ignore[arg-type]
