"""What the publisher tells a server that may know more of this machine than its disk does."""

from device_agent.publisher import connection_number
from tests.unit.agent.build import NOW_MS


def test_connections_are_numbered_above_those_of_a_disk_that_was_lost_or_put_back() -> None:
    first = connection_number(0, NOW_MS)
    assert connection_number(first, NOW_MS) == first + 1
    assert connection_number(first, NOW_MS + 86_400_000) > first + 1000  # a copy of this disk made many connects
    assert connection_number(first, 5_000) == first + 1  # a clock that is not set
