"""What each fault is called and means, in plain English; the texts of alarms are made from it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault in words.

    Attributes:
        title: the fault in a few words.
        part, state: the same as a noun and what is wrong with it, so that candidates can be named together.
        found: what was measured that speaks for it, one sentence.
        action: what to do first, one sentence.
    """

    title: str
    part: str
    state: str
    found: str
    action: str


_REPLACE_CABLE = "Check connector and cable of the sensor, then have it replaced."

FAULTS: dict[str, Fault] = {
    "filter_clogged": Fault(
        "Intake filter clogged",
        "intake filter",
        "blocked",
        "The pressure drop across the intake filter is too high",
        "Replace the filter.",
    ),
    "exhaust_clogged": Fault(
        "Exhaust filter clogged",
        "exhaust filter",
        "blocked",
        "The pump works against back pressure at its outlet.",
        "Replace the exhaust filter or silencer.",
    ),
    "return_path_blocked": Fault(
        "Return hose or handpiece blocked",
        "return hose",
        "blocked",
        "The open tip needs too much vacuum at the pump, and little of it reaches the handpiece.",
        "Clear the return hose and the outlet of the handpiece, or replace them.",
    ),
    "feed_blocked": Fault(
        "Crystal feed blocked",
        "crystal feed",
        "blocked",
        "In contact the vacuum is higher and the flow lower than the set point explains, as without air from the feed.",
        "Stop, clear the nozzle and dry the jar before the next session.",
    ),
    "leak_dirty_side": Fault(
        "Leak before the intake filter",
        "hose or canister seal before the filter",
        "leaking",
        "Air enters before the intake filter: a closed tip does not hold its vacuum.",
        "Reseat lid and O-ring of the canister, then check the hoses.",
    ),
    "leak_clean_side": Fault(
        "Leak behind the intake filter",
        "filter housing seal",
        "leaking",
        "Air enters behind the intake filter: a closed tip does not hold its vacuum, and the filter carries less flow.",
        "Reseat or replace the O-ring of the filter housing.",
    ),
    "canister_full": Fault(
        "Waste canister full",
        "waste canister",
        "full",
        "The waste canister is full, or its outlet is covered.",
        "Empty or replace the canister, then check the filter.",
    ),
    "pump_worn": Fault(
        "Pump worn",
        "pump",
        "worn",
        "The pump moves less air than a healthy one at the same vacuum.",
        "Plan a valve, diaphragm or vane kit.",
    ),
    "pump_valve_leak": Fault(
        "Pump valves leak",
        "pump valve or diaphragm",
        "leaking",
        "The pump no longer reaches its greatest vacuum, though no air enters the machine.",
        "Have valves and diaphragm of the pump replaced.",
    ),
    "regulator_shut": Fault(
        "Vacuum regulator stuck shut",
        "vacuum regulator",
        "stuck shut",
        "The vacuum in contact is higher than the one set.",
        "Do not treat clients; clear the bleed filter and have the regulator repaired.",
    ),
    "regulator_open": Fault(
        "Vacuum regulator stuck open",
        "vacuum regulator",
        "stuck open",
        "The vacuum in contact stays below the one set while the pump moves more air.",
        "Have the regulator repaired.",
    ),
    "filter_missing": Fault(
        "Intake filter missing or torn",
        "intake filter",
        "missing",
        "There is almost no pressure drop across the intake filter: dust reaches the pump.",
        "Stop, fit the right filter and have the pump inspected.",
    ),
    "crystals_low": Fault(
        "Crystals low",
        "crystal jar",
        "nearly empty",
        "The crystal jar is nearly empty.",
        "Refill the jar with dry crystals.",
    ),
    "motor_overheated": Fault(
        "Motor overheated",
        "motor",
        "too hot",
        "The motor is hotter than its work and the room explain.",
        "Let it cool, clean vents and fan, and check the exhaust filter.",
    ),
    "mains_low": Fault(
        "Mains voltage low",
        "mains supply",
        "too low",
        "The mains voltage was too low for the pump to reach its speed.",
        "Ask an electrician to check the supply; no part of the machine is at fault.",
    ),
    "electrical_dropout": Fault(
        "Electrical drop-out",
        "wiring",
        "interrupted",
        "Several sensors lost their signal at the same moment.",
        "Check connectors, cables and the power supply.",
    ),
    "sensor_drift": Fault(
        "Sensor drifting",
        "sensor",
        "drifting",
        "A sensor no longer agrees with the others, or with zero when the pump is off.",
        "Calibrate the sensor.",
    ),
    "sensor_stuck": Fault(
        "Sensor stuck",
        "sensor",
        "stuck",
        "A sensor repeats one value while the machine works.",
        _REPLACE_CABLE,
    ),
    "sensor_rail": Fault(
        "Sensor out of range",
        "sensor",
        "out of range",
        "A sensor reports a value that cannot be.",
        _REPLACE_CABLE,
    ),
    "liquid_blocked": Fault(
        "Filter wetted or float valve closed",
        "filter wetted or float valve",
        "blocked",
        "The flow has stopped while the vacuum at the pump is at its greatest.",
        "Empty the canister and replace the hydrophobic filter.",
    ),
    "over_vacuum": Fault(
        "Vacuum too high",
        "vacuum",
        "too high",
        "The vacuum at the handpiece was above its limit",
        "Take the handpiece off the skin; do not treat until the cause is found.",
    ),
    "evaluation_blocked": Fault(
        "Evaluation waits for missing data",
        "log",
        "incomplete",
        "Entries of this machine's log are missing, and what came after them is stored but not judged yet.",
        "Check that the machine is online; it sends what it still has by itself.",
    ),
}
