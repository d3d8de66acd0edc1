"""Which processes run, and which shards each ingest worker serves."""

from dermafleet.storage.ledger import Connection


def register_worker(connection: Connection, worker_id: str, *, kind: str, shards: str = "") -> None:
    """Note that a worker is alive; call it every few seconds. Workers not seen for a day are forgotten."""
    connection.execute(
        """
        insert into worker (id, kind, shards) values (%s, %s, %s)
        on conflict (id) do update set seen_at = now(), shards = excluded.shards
        """,
        [worker_id, kind, shards],
    )
    connection.execute("delete from worker where seen_at < now() - interval '1 day'")


def remove_worker(connection: Connection, worker_id: str) -> None:
    """Forget a worker that has stopped in order."""
    connection.execute("delete from worker where id = %s", [worker_id])
