"""How the events' database is opened: what URL is taken, and SQLite and PostgreSQL made durable and private."""

from __future__ import annotations

import hashlib
import os
import re
import time
from typing import Any

import sqlalchemy as sa
from platformdirs import user_data_path
from sqlalchemy.exc import ArgumentError

from neucf.errors import ConfigError, StoreError

# How long a write waits for that of another process; and for a server that does not answer.
BUSY_SECONDS, CONNECT_SECONDS = 30, 10
_RULE = "must be sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"


def default_url(data: str) -> str:
    """Returns the URL of the file for a data set's events in the per-user data folder, which is made.

    Ids mean something else in each data set, so that each has a file of its own.

    Args:
        data: What the data set is called.

    Raises:
        StoreError: If the folder cannot be made.
    """
    folder = user_data_path("neucf", appauthor=False)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise StoreError(f"{folder} must be a folder of this user's for the events ({error.strerror}).") from None
    name = re.sub(r"[^A-Za-z0-9_-]", "-", data)
    if name != data:
        # Names that differ only in what a file's name can't hold
        name += f"-{hashlib.sha256(data.encode()).hexdigest()[:8]}"
    return f"sqlite:///{folder}/events-{name}.sqlite"


def parse_url(url: str) -> sa.URL:
    """Returns the database a URL names; raises ConfigError, which shows no password."""
    # A bare @ in a password would make its end a part of the host, which errors show.
    if url.count("@") > 1 and not url.startswith("sqlite"):
        raise ConfigError(f"`events` {_RULE}; write @ in a name or password as %40.")
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        # Their messages may hold the password.
        raise ConfigError(f"`events` {_RULE}; the URL given cannot be read.") from None
    kind = parsed.drivername
    if kind in ("postgresql", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if kind not in ("sqlite", "sqlite+pysqlite"):
        raise ConfigError(f"`events` {_RULE}; got one that begins with {kind}.")
    if not parsed.database or parsed.database == ":memory:" or parsed.database.startswith("file:") or parsed.query:
        raise ConfigError(f"`events` must name a plain file, as in sqlite:///events.sqlite; got {parsed.database!r}.")
    return parsed


def shown(url: sa.URL) -> str:
    """Returns a URL for messages: without user, password and options."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return f"postgresql://{url.host or ''}{f':{url.port}' if url.port else ''}/{url.database or ''}"


def open_engine(url: sa.URL, *, create: bool = True) -> sa.Engine:
    """Returns an engine each of whose commits is on disk before it returns; `create` makes an absent SQLite file."""
    if url.get_backend_name() == "sqlite":
        return _open_sqlite(url, create)
    query = {"connect_timeout": str(CONNECT_SECONDS), **url.query}
    try:
        engine = sa.create_engine(
            url.set(query=query), hide_parameters=True, isolation_level="READ COMMITTED", pool_pre_ping=True
        )
    except ImportError:
        raise ConfigError(
            "Events in PostgreSQL need psycopg: install it with `pip install 'psycopg[binary]'`."
        ) from None
    sa.event.listen(engine, "connect", _prepare_postgresql)
    return engine


def _open_sqlite(url: sa.URL, create: bool) -> sa.Engine:
    try:
        # Made here, for its mode, which SQLite gives the files beside it too.
        os.close(os.open(str(url.database), os.O_RDWR | (os.O_CREAT if create else 0), 0o600))
    except OSError as error:
        raise ConfigError(f"`events` must name a file that can be written; {url.database}: {error.strerror}.") from None
    engine = sa.create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS})
    sa.event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _: Any) -> None:
    """Sets what each connection needs; erased rows are overwritten, not only unlinked."""
    for pragma in ("synchronous=FULL", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")
    # Two processes may meet at the one moment where the file becomes WAL, and there SQLite does not wait.
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _prepare_postgresql(connection: Any, _: Any) -> None:
    """Lets no commit return before it is on disk, whatever the server's default."""
    connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )
    connection.commit()
