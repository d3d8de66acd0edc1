"""What stored entries say: as blocks, per component, alone and joined."""

import numpy as np
import pytest

from services.alerts.context import Context
from services.alerts.entries import channels_needed, component_view, is_seamless, join
from services.alerts.limits import Limits
from services.alerts.observation import Block

LIMITS = Limits(components={"main": {}, "second": {"vacuum_inlet_kpa": "second_vacuum"}})


def block(seq: int, first_ms: int, *, boot: str = "b", up_ms: int | None = None, **channels: list[float]) -> Block:
    values = {name: np.array(each, dtype=float) for name, each in channels.items()}
    at_ms = first_ms + 100 * np.arange(2)
    return Block("e", seq, boot, first_ms if up_ms is None else up_ms, at_ms, values)


def test_makers_channels_of_other_components_are_read_too() -> None:
    needed = channels_needed(Context(LIMITS))
    assert needed[-1] == "second_vacuum"
    assert "ambient_kpa" in needed
    assert len(set(needed)) == len(needed)


def test_component_sees_its_own_channels_under_their_standard_names() -> None:
    whole = block(1, 0, vacuum_inlet_kpa=[40, 41], second_vacuum=[20, 500], ambient_kpa=[101, 101])
    main, second = (component_view(whole, names) for names in LIMITS.components.values())
    assert main.channels.keys() == {"vacuum_inlet_kpa", "ambient_kpa"}
    assert list(second.channels["ambient_kpa"]) == [101, 101]
    assert second.channels["vacuum_inlet_kpa"][0] == 20
    assert np.isnan(second.channels["vacuum_inlet_kpa"][1]), "out of the plausible range"


def test_channel_that_a_component_does_not_send_is_none_of_the_others() -> None:
    second = component_view(block(1, 0, vacuum_inlet_kpa=[40, 41]), LIMITS.components["second"])
    assert np.isnan(second.channel("vacuum_inlet_kpa")).all()


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (block(2, 200, flow_lpm=[3, 4]), True),
        (block(2, 200, boot="c", flow_lpm=[3, 4]), False),
        (block(2, 200, up_ms=300, flow_lpm=[3, 4]), False),
        (block(2, 0, flow_lpm=[3, 4]), False),
        (block(2, 200, mains_v=[3, 4]), False),
    ],
)
def test_only_what_one_clock_measured_in_one_boot_is_joined(after: Block, expected: bool) -> None:
    assert is_seamless(block(1, 0, flow_lpm=[1, 2]), after) == expected


def test_joined_blocks_are_one_under_the_name_of_the_first() -> None:
    joined = join([block(1, 0, flow_lpm=[1, 2]), block(2, 200, flow_lpm=[3, 4])])
    assert (joined.seq, joined.up_ms) == (1, 0)
    assert list(joined.at_ms) == [0, 100, 200, 300]
    assert list(joined.channels["flow_lpm"]) == [1, 2, 3, 4]
