"""Model instances out of statements that are written by hand, where a request would otherwise wait for the ORM.

Django builds the SQL of a query anew each time it is asked, which takes longer than PostgreSQL's answer. The few
statements of a submit and of a status answer are therefore written down, and this gives their columns and reads them.
"""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from django.db import connection, models

M = TypeVar("M", bound=models.Model)


class Columns(Generic[M]):
    """The columns of a model in a statement, and the way back from their values to an instance."""

    def __init__(self, model: type[M]) -> None:
        self._model = model
        fields = model._meta.concrete_fields  # noqa: SLF001 - Django's own, documented
        self._attributes = [field.attname for field in fields]
        self._names = [field.column for field in fields]
        # Such as JSON, which arrives as text.
        self._converters = [
            (place, field.from_db_value) for place, field in enumerate(fields) if hasattr(field, "from_db_value")
        ]

    def __len__(self) -> int:
        return len(self._names)

    def of(self, alias: str) -> str:
        """Name every column of the table that the statement calls `alias`."""
        return ", ".join(f'{alias}."{name}"' for name in self._names)

    def read(self, values: Sequence[Any]) -> M:
        """Make an instance of these columns' values, as the database gave them."""
        own = list(values)
        for place, convert in self._converters:
            own[place] = convert(own[place], None, connection)
        return self._model.from_db(connection.alias, self._attributes, own)
