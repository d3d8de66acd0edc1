"""The whole schema: importing this knows every table."""

from dermafleet.storage import condition_tables, tables
from dermafleet.storage.columns import metadata

__all__ = ["condition_tables", "metadata", "tables"]
