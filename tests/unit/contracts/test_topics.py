"""Topics: what is built is parsed, and nothing else is."""

import pytest

from dermafleet.contracts.channels import CHANNEL_BY_NAME, CHANNELS, PROFILES, fitted
from dermafleet.contracts.status import Status
from dermafleet.contracts.topics import SHARDS, Incoming, Topics, shard_of
from dermafleet.errors import InvalidHeader, SettingError

TOPICS = Topics()


def test_built_topics_are_parsed() -> None:
    assert TOPICS.parse(TOPICS.up("D-0010", "telemetry")) == Incoming("D-0010", "telemetry")
    assert TOPICS.parse(TOPICS.status("D-0010")) == Incoming("D-0010", None)


def test_topic_is_as_the_protocol_says() -> None:
    assert TOPICS.up("D-0010", "event") == "dermafleet/v1/3/D-0010/up/event"
    assert TOPICS.down("D-0010", "ack") == "dermafleet/v1/3/D-0010/down/ack"
    assert Topics("maker/x").status("D-0010") == "maker/x/3/D-0010/status"


@pytest.mark.parametrize(
    ("topic", "field"),
    [
        ("", "topic"),
        ("dermafleet/v1", "topic"),
        ("dermafleet/v2/3/D-0010/status", "topic"),
        ("xdermafleet/v1/3/D-0010/status", "topic"),
        ("dermafleet/v1/3/D-0010/up/telemetry/x", "topic"),
        ("dermafleet/v1/5/D-0010/status", "topic.shard"),
        ("dermafleet/v1/3/D 1/status", "topic.device_id"),
        ("dermafleet/v1/3//status", "topic.device_id"),
        ("dermafleet/v1/3/D-0010\n/status", "topic.device_id"),
        ("dermafleet/v1/3/D-0010/down/ack", "topic.kind"),
        ("dermafleet/v1/3/D-0010/up/ack", "topic.kind"),
    ],
)
def test_other_topics_are_refused(topic: str, field: str) -> None:
    with pytest.raises(InvalidHeader) as caught:
        TOPICS.parse(topic)
    assert caught.value.field == field


@pytest.mark.parametrize("device_id", ["", "a/b", "+", "#", "a b", "x" * 65, "é", "a\n"])
def test_device_id_that_cannot_stand_in_a_topic_is_refused(device_id: str) -> None:
    with pytest.raises(SettingError):
        TOPICS.up(device_id, "telemetry")


@pytest.mark.parametrize("prefix", ["", "a//b", "a/+", "#", "/a", "$SYS"])
def test_prefix_that_cannot_stand_in_a_topic_is_refused(prefix: str) -> None:
    with pytest.raises(SettingError):
        Topics(prefix)


def test_workers_split_the_fleet_by_shards() -> None:
    assert TOPICS.ingest_filters() == ["dermafleet/v1/+/+/up/+", "dermafleet/v1/+/+/status"]
    assert TOPICS.ingest_filters("b3") == [
        "dermafleet/v1/3/+/up/+",
        "dermafleet/v1/3/+/status",
        "dermafleet/v1/b/+/up/+",
        "dermafleet/v1/b/+/status",
    ]
    assert {shard_of(f"D-{i}") for i in range(500)} == set(SHARDS)


def test_each_profile_includes_the_smaller_ones() -> None:
    assert [len(fitted(profile)) for profile in PROFILES] == [2, 5, 8, 15]
    assert len(CHANNEL_BY_NAME) == len(CHANNELS)


def test_late_will_does_not_follow_the_next_birth() -> None:
    birth, beat = Status(connection=5, n=1, online=True), Status(connection=5, n=2, online=True)
    will, next_birth = Status(connection=5, online=False), Status(connection=6, n=1, online=True)
    assert birth.order < beat.order < will.order < next_birth.order
