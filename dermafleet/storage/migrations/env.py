"""alembic's entry point: runs the migrations on the connection that `dermafleet.storage.migrate` passes in."""

from alembic import context
from sqlalchemy import text

from dermafleet.storage.schema import metadata

_LOCK = 4_607_182
"""Any number of our own: the advisory lock that makes two migrations at once wait for each other."""

connection = context.config.attributes["connection"]
connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
context.configure(connection=connection, target_metadata=metadata, compare_type=True, compare_server_default=True)
with context.begin_transaction():
    context.run_migrations()
