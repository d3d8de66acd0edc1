"""A connection that breaks says so, wherever it is noticed."""

import socket
import struct

from dermafleet.mqtt import Broker
from device_agent.connection import Connection, WakePipe, Will
from tests.waiting import until


def test_a_connection_that_breaks_while_publishing_ends_its_next_step_at_once() -> None:
    wake = WakePipe()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        broker = Broker("127.0.0.1", listener.getsockname()[1])
        connection = Connection(broker, "D-1", will=Will("t", b""), ca_file=None, wake=wake)
        accepted, _ = listener.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close with a reset
        accepted.close()

    def is_lost_by_publishing() -> bool:
        connection.publish("t", b"x")
        return connection.lost is not None

    until(is_lost_by_publishing)
    assert connection.step(10) == []
    connection.close()
    wake.close()
