"""The whole schema: importing this knows every table."""

from dermafleet.storage import condition_tables, release_tables, rule_tables, tables
from dermafleet.storage.columns import metadata

__all__ = ["condition_tables", "metadata", "release_tables", "rule_tables", "tables"]
