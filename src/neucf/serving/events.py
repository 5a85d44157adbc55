"""The events store: what people did since the model was trained, safe on disk before anybody is told so.

One table, in a SQLite file or PostgreSQL, wherever a URL says; never in a run.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from neucf.errors import ConfigError, ConflictError, DataError, StoreError
from neucf.serving.database import BUSY_SECONDS, open_engine, parse_url, shown

if TYPE_CHECKING:
    import polars as pl

MAX_LENGTH = 255
BLOCK_ROWS = 10_000
# Waited for those that read while the log is emptied, which keeps writers waiting.
_PATIENCE_SECONDS = 0.2
# Names PostgreSQL's advisory lock while the table is made: "neucf" in ASCII.
LOCK = 0x6E65756366

EVENTS = sa.Table(
    "neucf_events",
    sa.MetaData(),
    # Counts arrivals.
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("user_id", sa.Text, nullable=False, index=True),
    sa.Column("item_id", sa.Text, nullable=False),
    sa.Column("value", sa.Double),
    sa.Column("timestamp", sa.BigInteger),
    sa.Column("received", sa.BigInteger, nullable=False),
)
BODY = (EVENTS.c.user_id, EVENTS.c.item_id, EVENTS.c.key, EVENTS.c.value, EVENTS.c.timestamp)
TIME = sa.func.coalesce(EVENTS.c.timestamp, EVENTS.c.received)


@dataclass(frozen=True, slots=True)
class Event:
    """Something a user did with an item; ids in their text form.

    Attributes:
        user_id: Any user, known to a model or not.
        item_id: An item; whether the catalogue has it is for the caller to check.
        key: Chosen by the sender: an event sent again under its key is kept once.
        value: How much, such as a rating; None where the event itself is all there is to say.
        timestamp: Seconds since 1970; None for the time of arrival.

    Raises:
        DataError: If a text is empty, longer than 255 characters or cannot be stored, or a number is not finite or
            beyond 64 bits.
    """

    user_id: str
    item_id: str
    key: str
    value: float | None = None
    timestamp: int | None = None

    def __post_init__(self) -> None:
        for name in ("user_id", "item_id", "key"):
            text = getattr(self, name)
            if not isinstance(text, str) or not 1 <= len(text) <= MAX_LENGTH or not _is_storable(text):
                raise DataError(
                    f"`{name}` must be a text of 1 to {MAX_LENGTH} characters, without NUL and lone surrogates; "
                    f"got {ascii(text)[:80]}."
                )
        if self.value is not None and not math.isfinite(self.value):
            raise DataError(f"`value` must be a finite number, or left out; got {self.value}.")
        if self.timestamp is not None and not -(2**63) <= self.timestamp < 2**63:
            raise DataError(f"`timestamp` must be seconds since 1970 in 64 bits, or left out; got {self.timestamp}.")


class EventStore:
    """Events in a database; many threads and processes may use it at once.

    Args:
        url: `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/DATABASE`, as SQLAlchemy reads them.
        create: Make the file and the table where they are not there; else that is an error.

    Raises:
        ConfigError: If the URL is of another kind, names no store, or needs a driver that is not installed.
        StoreError: If the database cannot be opened.
    """

    def __init__(self, url: str, *, create: bool = True) -> None:
        self._url = parse_url(url)
        self._is_sqlite = self._url.get_backend_name() == "sqlite"
        # Threads that wait here need not poll SQLite's own lock.
        self._turn = threading.Lock() if self._is_sqlite else contextlib.nullcontext()
        self._log_holds_erased = False
        self._engine = open_engine(self._url, create=create)
        try:
            self._find_table(create)
        except BaseException:
            self.close()
            raise

    def add(self, event: Event) -> Literal["created", "repeated"]:
        """Keeps an event; once this returns, it is safe on disk.

        Returns:
            `repeated` where this very event was kept before under its key, else `created`.

        Raises:
            ConflictError: If another event was kept under its key.
            StoreError: If the database fails. The event may have been kept or not: adding it again is safe.
        """
        insert = (sqlite if self._is_sqlite else postgresql).insert(EVENTS)
        row = {name: getattr(event, name) for name in Event.__slots__} | {"received": int(time.time())}
        new = insert.values(row).on_conflict_do_nothing(index_elements=["key"]).returning(EVENTS.c.number)
        kept = None
        # Anew where the event of this key was erased before it could be read.
        while kept is None:
            with self._writes() as connection:
                created = connection.execute(new).first() is not None
                if not created:
                    kept = connection.execute(sa.select(*BODY).where(EVENTS.c.key == event.key)).first()
            if created:
                if self._log_holds_erased:
                    self._empty_log(0)
                return "created"
        if Event(*kept) != event:
            raise ConflictError(
                f"`key` must be new, or come with the event it came with before; got {event.key!r} with another."
            )
        return "repeated"

    def history(self, user_id: str) -> list[Event]:
        """Returns what a user did, oldest first; empty for one without events."""
        return self.histories([user_id])[user_id]

    def histories(self, user_ids: Iterable[str]) -> dict[str, list[Event]]:
        """Returns what each of some users did, by one query."""
        found: dict[str, list[Event]] = {user_id: [] for user_id in user_ids}
        asked = EVENTS.c.user_id.in_(list(filter(_is_storable, found)))
        with self._reads() as connection:
            for row in connection.execute(sa.select(*BODY).where(asked).order_by(TIME, EVENTS.c.number)):
                event = Event(*row)
                found[event.user_id].append(event)
        return found

    def users(self) -> Iterator[str]:
        """Yields each user with events once, in blocks from the database."""
        with self._reads() as connection:
            yield from connection.execute(sa.select(EVENTS.c.user_id).distinct()).scalars()

    def all(self) -> Iterator[Event]:
        """Yields every event in order of arrival, in blocks from the database."""
        with self._reads() as connection:
            yield from (Event(*row) for row in connection.execute(sa.select(*BODY).order_by(EVENTS.c.number)))

    def frame(self) -> pl.DataFrame:
        """Returns all events as rows of user_id, item_id, value and timestamp, in order of arrival."""
        import polars as pl

        schema = {"user_id": pl.String, "item_id": pl.String, "value": pl.Float64, "timestamp": pl.Int64}
        columns = (EVENTS.c.user_id, EVENTS.c.item_id, EVENTS.c.value, TIME)
        with self._reads() as connection:
            rows = connection.execute(sa.select(*columns).order_by(EVENTS.c.number)).partitions()
            blocks = [pl.DataFrame([tuple(row) for row in block], schema=schema, orient="row") for block in rows]
        return pl.concat([pl.DataFrame(schema=schema), *blocks])

    def erase(self, user_id: str) -> int:
        """Removes all events of a user, for good; returns how many there were."""
        if not _is_storable(user_id):
            return 0
        with self._writes() as connection:
            num_erased = connection.execute(sa.delete(EVENTS).where(EVENTS.c.user_id == user_id)).rowcount
        if self._is_sqlite:
            self._empty_log(_PATIENCE_SECONDS)
        return num_erased

    def close(self) -> None:
        """Closes all connections."""
        if self._log_holds_erased:
            with contextlib.suppress(StoreError):
                self._empty_log(_PATIENCE_SECONDS)
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _find_table(self, create: bool) -> None:
        with self._writes() as connection:
            if sa.inspect(connection).has_table(EVENTS.name):
                return
            if not create:
                raise ConfigError(f"`events` must name a store of events; {shown(self._url)} has no {EVENTS.name}.")
            # Keeps those that start at once apart, which IF NOT EXISTS alone does not, and makes all of it or nothing.
            lock = "BEGIN IMMEDIATE" if self._is_sqlite else f"SELECT pg_advisory_xact_lock({LOCK})"
            connection.exec_driver_sql(lock)
            connection.execute(CreateTable(EVENTS, if_not_exists=True))
            for index in EVENTS.indexes:
                connection.execute(CreateIndex(index, if_not_exists=True))

    def _empty_log(self, patience: float) -> None:
        """Empties SQLite's write-ahead log, which would keep what was erased; later, where another reads by it."""
        self._log_holds_erased = True
        with self._writes() as connection:
            connection.exec_driver_sql(f"PRAGMA busy_timeout={round(1000 * patience)}")
            try:
                (is_busy, *_) = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
            finally:
                connection.exec_driver_sql(f"PRAGMA busy_timeout={1000 * BUSY_SECONDS}")
        self._log_holds_erased = bool(is_busy)

    @contextmanager
    def _writes(self) -> Iterator[sa.Connection]:
        with self._errors(), self._turn, self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _reads(self) -> Iterator[sa.Connection]:
        with self._errors(), self._engine.connect() as connection:
            yield connection.execution_options(yield_per=BLOCK_ROWS)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0].rstrip(".")
            raise StoreError(f"The events at {shown(self._url)} cannot be reached: {reason}.") from error


def _is_storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
