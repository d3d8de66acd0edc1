"""What all tables share: their metadata, and the columns that come again and again."""

from sqlalchemy import Column, DateTime, ForeignKey, Integer, MetaData, func, text
from sqlalchemy.dialects.postgresql import INT8MULTIRANGE, JSONB
from sqlalchemy.types import UserDefinedType

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)


class Xid8(UserDefinedType[int]):
    """A transaction id that never wraps; orders the change feed by commit."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "xid8"


def at(name: str, *, nullable: bool = False, primary_key: bool = False) -> Column[object]:
    """An instant."""
    return Column(name, DateTime(timezone=True), nullable=nullable, primary_key=primary_key)


def now(name: str) -> Column[object]:
    """An instant; by default that of the transaction."""
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def device_key(*, primary_key: bool = False) -> Column[int]:
    """The device a row belongs to."""
    return Column("device_id", Integer, ForeignKey("device.id"), primary_key=primary_key, nullable=False)


def ranges(name: str) -> Column[object]:
    """Ranges of sequence numbers; empty by default."""
    return Column(name, INT8MULTIRANGE, nullable=False, server_default=text("'{}'"))


def json(name: str, *, nullable: bool = False) -> Column[object]:
    """A JSON document; an empty object by default."""
    return Column(name, JSONB, nullable=nullable, server_default=None if nullable else text("'{}'"))
