"""What a machine does next: the operator's preparations, and the script of the treatment."""

from dataclasses import replace

import numpy as np

from device_agent.simulator import treatment
from device_agent.simulator.inputs import Activity
from device_agent.simulator.life import Life
from device_agent.simulator.treatment import RATE_HZ, Operator, Script

_TIP_CHANGED = 0.15
"""Share of treatments for which another tip than the operator's usual one is fitted."""


def next_treatment(life: Life, at_ms: int) -> Activity:
    """The next treatment of a machine, with what is done to the machine before."""
    session = life.treatments
    life.treatments += 1
    prepared = tuple(life.prepare(session))
    operator = life.operator(session)
    pump_s = life.plan.pump_s * life.random.uniform(0.9, 1.1)
    changes = (2, 5) if life.plan.nuisances else (0, 0)
    script = treatment.treatment(operator, pump_s, life.random, changes=changes)
    scripts = _share(script, life)
    length = len(script)
    pump_end = int(script.pump_on.sum())
    for each in life.schedule:
        if each.fault == "power_cut" and each.onset == session:
            length = round(each.onset_s * RATE_HZ) or length // 2
    return Activity(
        life=life,
        at_ms=at_ms,
        purpose="treatment",
        session=session,
        scripts=scripts,
        dust_g_s=tuple(life.draw_dust_g(index) / treatment.contact_s(each) for index, each in enumerate(scripts)),
        tip_mm=_tip_mm(operator, life),
        length=length,
        pump_end=pump_end,
        end=pump_end,
        maintenance=prepared,
    )


def _tip_mm(operator: Operator, life: Life) -> float:
    tips = life.circuits[0].circuit.tips_mm
    if not life.plan.nuisances:
        return tips[0]
    changed = life.random.uniform() < _TIP_CHANGED
    return tips[int(life.random.integers(len(tips)))] if changed else tips[operator.tip]


def _share(script: Script, life: Life) -> tuple[Script, ...]:
    """One script per circuit: all pumps run, and the handpieces are used one after the other."""
    count = len(life.circuits)
    if count == 1:
        return (script,)
    part = np.minimum(np.arange(len(script)) * count // max(int(script.pump_on.sum()), 1), count - 1)
    usual = float(life.circuits[0].circuit.design.seal)
    return tuple(
        replace(
            script,
            seal=np.where(
                (part == index) & (script.seal > 0), script.seal + float(each.circuit.design.seal) - usual, 0.0
            ),
        )
        for index, each in enumerate(life.circuits)
    )
