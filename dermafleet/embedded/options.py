"""What the command line of ``./fleet demo`` says."""

from dataclasses import dataclass
from pathlib import Path

_HISTORY_DAYS = 30
_DEVICES_WITH_HISTORY = 20
"""With fewer machines somebody tries something, and has no use for a month of others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says; see ``./fleet demo --help``."""

    devices: int = 50
    seed: int = 1
    speed: float | None = None
    replay: Path | None = None
    run_for_s: float | None = None
    report: Path | None = None
    port: int | None = None
    data_dir: Path = Path("var/demo")
    verbose: bool = False
    history: int | None = None

    @property
    def history_days(self) -> int:
        """How many days the machines with a past have behind them; 0 = none has one."""
        if self.replay is not None or self.speed is not None:
            return 0
        if self.history is None:
            return _HISTORY_DAYS if self.devices >= _DEVICES_WITH_HISTORY else 0
        return self.history

    @property
    def is_measured(self) -> bool:
        return self.replay is not None or self.report is not None
