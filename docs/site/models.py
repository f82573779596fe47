"""How does the reference show a pydantic model? As a call with its fields, as griffe shows a dataclass."""

from __future__ import annotations

from typing import Any

import griffe

BASES = {"BaseModel", "Record", "_Value", "_Section"}
"""pydantic's own base, and those of ours that are made of it."""


class Models(griffe.Extension):
    """Gives models the `__init__` that pydantic gives them."""

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        """Called for every class when its body has been read."""
        if not BASES & {str(base) for base in cls.bases} or "__init__" in cls.members:
            return
        fields = [
            griffe.Parameter(
                field.name,
                annotation=field.annotation,
                kind=griffe.ParameterKind.keyword_only,
                default=_default(field),
            )
            for field in cls.attributes.values()
            if field.annotation is not None and not field.name.startswith("_") and "property" not in field.labels
        ]
        init = griffe.Function("__init__", parameters=griffe.Parameters(*fields), lineno=cls.lineno)
        cls.set_member("__init__", init)


def _default(field: griffe.Attribute) -> Any:
    """The field's value; of `Field(...)`, its default."""
    value = field.value
    if not isinstance(value, griffe.ExprCall) or str(value.function) != "Field":
        return value
    said = {getattr(argument, "name", "default"): getattr(argument, "value", argument) for argument in value.arguments}
    return said.get("default")
