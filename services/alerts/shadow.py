"""A version of the detectors in shadow: judges the same entries with a memory of its own, and nobody is told.

It begins with what the active version remembers, so that they differ by what they judge from then on. A version in
shadow is not trusted yet: its errors end its judgement of a device, never that of the active version.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from dermafleet.logs import get_logger
from dermafleet.storage import alarms, releases
from dermafleet.storage.alarms import Alarm
from dermafleet.storage.blocks import Samples
from dermafleet.storage.follow import Claim, Entry
from dermafleet.storage.releases import ShadowEvent, ShadowState
from services.alerts import evaluate, lifecycle, metrics, replay
from services.alerts.context import Context
from services.alerts.evaluate import Memory
from services.alerts.observation import Observation
from services.alerts.tuning import Tuning

_log = get_logger()

Place = tuple[str, str]
RULES = "rule_"
"""Users' rules have versions of their own."""


@dataclass(slots=True)
class Shadow:
    """One device under a version in shadow, during one step.

    Attributes:
        from_at: since when it judges, event time; None = nothing yet.
        alarms: by component and fault, as they would be.
        trouble: why it failed in this step: nothing of it is kept, and it begins anew with the next one.
        trouble_before: likewise in the step before; what goes on is told once.
    """

    device_id: str
    tuning: Tuning
    memory: Memory
    alarms: dict[Place, Alarm]
    from_at: datetime | None
    told: list[ShadowEvent] = field(default_factory=list)
    trouble: str | None = None
    trouble_before: str | None = None
    _document: str = "{}"

    def take(self, epoch: str, entries: Sequence[Entry], samples: Mapping[int, Samples], context: Context) -> None:
        """Show it what the active version was shown."""
        if self.from_at is None and entries:
            self.from_at = entries[0].first_at
        try:
            own = replace(context, tuning=self.tuning, rules=())
            self.memory, told = replay.take(self.memory, epoch, entries, samples, own)
            for observation in told:
                self._decide(observation)
            self._document = evaluate.to_document(self.memory)
        except Exception as error:
            self.trouble = f"{type(error).__name__}: {error}"[:500]
            metrics.failures.labels("shadow").inc()
            if self.trouble != self.trouble_before:
                _log.exception("A version in shadow failed", version=self.tuning.version, device=self.device_id)

    def _decide(self, observation: Observation) -> None:
        key = (observation.component, observation.fault)
        if observation.fault.startswith(RULES):
            return
        decision = lifecycle.decide(self.device_id, self.alarms.get(key), observation, sure=self.tuning.sure)
        if decision.alarm is None:
            return
        self.alarms[key] = decision.alarm
        if decision.transition is not None:
            self.told.append(
                ShadowEvent(
                    observation.component,
                    observation.fault,
                    decision.transition,
                    decision.alarm.severity,
                    observation.confidence,
                    observation.at,
                    decision.reason,
                    msgspec.json.decode(msgspec.json.encode(decision.alarm.detail)),
                )
            )

    async def save(self, connection: AsyncConnection, device: int, until_at: datetime | None) -> None:
        """Keep what it remembers and said, in the transaction of the step that ended there."""
        if until_at is None or self.from_at is None:
            return
        if self.trouble is None:
            standing = list(self.alarms.values())
            state = ShadowState(evaluate.VERSION, self._document, standing, self.from_at, until_at)
        else:
            state, self.told = ShadowState(evaluate.VERSION, "{}", [], until_at, until_at, self.trouble), []
        await releases.save_shadow(connection, device, self.tuning.version, state, self.told)


async def open_shadow(connection: AsyncConnection, claim: Claim, tuning: Tuning) -> Shadow:
    """A version where it stood; it begins anew, with what the active one remembers, if it stood elsewhere."""
    stored = await releases.find_shadow(connection, claim.device, tuning.version)
    trouble = stored.trouble if stored else None
    is_here = stored is not None and stored.until_at == claim.evaluated_until and trouble is None
    if stored and is_here and stored.memory_version == evaluate.VERSION:
        memory, known = evaluate.recall(stored.memory, stored.memory_version), stored.alarms
        return Shadow(claim.device_id, tuning, memory, _by_place(known), stored.from_at)
    memory = evaluate.recall(claim.state, claim.version)
    known = await alarms.lock_alarms(connection, claim.device)
    return Shadow(claim.device_id, tuning, memory, _by_place(known), claim.evaluated_until, trouble_before=trouble)


def _by_place(known: Sequence[Alarm]) -> dict[Place, Alarm]:
    return {(alarm.component, alarm.fault): alarm for alarm in known if not alarm.fault.startswith(RULES)}
