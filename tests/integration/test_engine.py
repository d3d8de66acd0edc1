"""What a connection asks of the server, so that rows held by a dead host are soon free."""

from dermafleet.storage.engine import connect


def test_the_server_gives_up_a_silent_client_within_thirty_seconds(any_database_url: str) -> None:
    with connect(any_database_url) as connection:
        shown = {
            name: int(value)
            for name, value in connection.execute("select name, setting from pg_settings where name like 'tcp%'")
        }
    probing_s = shown["tcp_keepalives_idle"] + shown["tcp_keepalives_interval"] * shown["tcp_keepalives_count"]
    assert 0 < probing_s <= 30
    assert 0 < shown["tcp_user_timeout"] <= 30_000
