"""What a run may suffer, and which rule of the protocol it breaks on purpose."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rules:
    """The protocol as designed. Each switch turned away from its default is a design that must be found wrong."""

    epoch_per_start: bool = True
    """Else an epoch lasts as long as the file, and numbers are used twice after a disk forgot."""
    low_spans_epochs: bool = True
    """Else ``low`` speaks of the header's own epoch only."""
    announce_on_want: bool = True
    """Else a device keeps silent about what it is asked for and no longer has."""
    delete_on_ack: bool = True
    """Else the device deletes what the broker has taken."""
    compare_hashes: bool = True
    """Else a number that is stored is a duplicate whatever its content."""


DESIGN = Rules()


@dataclass(frozen=True, slots=True)
class Faults:
    """Which faults a run draws from, beside loss, repetition, reordering, crashes and restarts, which all have.

    Attributes:
        forget: power cuts after which the disk is as it was some time before.
        clone: a second machine starts from a copy of the disk.
        twin: a second machine runs on in the same epoch: a copy of a running one, memory included.
        restore: the database goes back to an earlier state.
        evict: the outbox is too small.
        poison: some entries cannot be decoded.
    """

    forget: bool = False
    clone: bool = False
    twin: bool = False
    restore: bool = False
    evict: bool = False
    poison: bool = False

    @property
    def may_lose(self) -> bool:
        return self.forget or self.clone or self.twin or self.restore or self.evict
