"""The events store: one contract, on SQLite and (marked) on PostgreSQL."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from neucf.errors import ConfigError, ConflictError, DataError, StoreError
from neucf.serving.database import default_url, open_engine, parse_url
from neucf.serving.events import EVENTS, Event, EventStore

POSTGRES = pytest.param("postgresql", marks=pytest.mark.postgres)
# The events of a test that take the time of arrival, of this century, have it between these two.
EARLY, LATE = 1_000_000_000, 4_000_000_000


@pytest.fixture(params=["sqlite", POSTGRES])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Names a database without events."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'events.sqlite'}"
    postgres = os.environ.get("NEUCF_TEST_POSTGRES")
    if not postgres:
        pytest.skip("NEUCF_TEST_POSTGRES is not set: scripts/with-postgres sets it")
    drop_table(postgres)
    return postgres


@pytest.fixture
def store(url: str) -> Iterator[EventStore]:
    with EventStore(url) as opened:
        yield opened


def drop_table(url: str) -> None:
    engine = open_engine(parse_url(url))
    EVENTS.metadata.drop_all(engine)
    engine.dispose()


def test_an_event_is_created_once_then_repeated(store: EventStore) -> None:
    event = Event("new user", "7", "k1", 4.5, 12)
    assert store.add(event) == "created"
    assert store.add(event) == "repeated"
    assert store.history("new user") == [event]
    assert store.history("somebody else") == []


@pytest.mark.parametrize(
    "other",
    [
        Event("other", "i", "k", 1.0, 5),
        Event("u", "other", "k", 1.0, 5),
        Event("u", "i", "k", 2.0, 5),
        Event("u", "i", "k", None, 5),
        Event("u", "i", "k", 1.0, 6),
        Event("u", "i", "k", 1.0, None),
    ],
)
def test_the_key_of_another_event_is_refused(store: EventStore, other: Event) -> None:
    first = Event("u", "i", "k", 1.0, 5)
    store.add(first)
    with pytest.raises(ConflictError, match=r"`key` must be new.*got 'k'"):
        store.add(other)
    assert list(store.all()) == [first]


def test_histories_are_in_order_of_time_and_the_rest_in_order_of_arrival(store: EventStore) -> None:
    late, early, now = Event("u", "1", "a", timestamp=LATE), Event("u", "2", "b", timestamp=5), Event("u", "3", "c")
    other = Event("v", "1", "d", value=0.1)
    for event in (late, early, now, other):
        store.add(event)
    assert store.history("u") == [early, now, late]
    assert store.histories(["v", "w", "u"]) == {"v": [other], "w": [], "u": [early, now, late]}
    assert list(store.all()) == [late, early, now, other]
    assert sorted(store.users()) == ["u", "v"]
    frame = store.frame()
    assert frame.drop("timestamp").rows() == [("u", "1", None), ("u", "2", None), ("u", "3", None), ("v", "1", 0.1)]
    assert frame["timestamp"].to_list()[:2] == [LATE, 5]
    assert frame["timestamp"][2:].is_between(time.time() - 60, time.time()).all()


def test_an_empty_store_has_a_frame_of_the_same_columns(store: EventStore) -> None:
    schema = {"user_id": pl.String, "item_id": pl.String, "value": pl.Float64, "timestamp": pl.Int64}
    assert store.frame().schema == schema
    assert list(store.all()) == list(store.users()) == []


def test_erasing_removes_one_users_events_and_frees_their_keys(store: EventStore) -> None:
    for number in range(3):
        store.add(Event("u", "i", f"u{number}"))
    kept = Event("v", "i", "v0")
    store.add(kept)
    assert store.erase("u") == 3
    assert store.erase("u") == 0
    assert store.history("u") == []
    assert list(store.all()) == [kept]
    assert store.add(Event("w", "j", "u0")) == "created"


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_what_was_erased_stands_nowhere_in_the_files(store: EventStore, tmp_path: Path) -> None:
    store.add(Event("somebody-private", "i", "a-private-key"))
    files = list(tmp_path.iterdir())
    assert any(b"somebody-private" in file.read_bytes() for file in files)
    store.erase("somebody-private")
    assert not any(b"private" in file.read_bytes() for file in files)


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
times = st.none() | st.integers(-(2**63), 2**63 - 1)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(event=st.builds(Event, texts, texts, texts, numbers, times))
def test_any_event_comes_back_as_it_was(store: EventStore, event: Event) -> None:
    assume(store.history(event.user_id) == [])
    try:
        assert store.add(event) == "created"
    except ConflictError:
        return
    assert store.add(event) == "repeated"
    assert store.history(event.user_id) == [event]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"user_id": ""}, "user_id"),
        ({"item_id": "x" * 256}, "item_id"),
        ({"key": "a\0b"}, "key"),
        ({"user_id": "\ud800"}, "user_id"),
        ({"user_id": 7}, "user_id"),
        ({"value": float("nan")}, "value"),
        ({"value": float("-inf")}, "value"),
        ({"timestamp": 2**63}, "timestamp"),
    ],
)
def test_what_cannot_be_stored_is_refused(fields: dict[str, object], name: str) -> None:
    with pytest.raises(DataError, match=f"`{name}` must be"):
        Event(**{"user_id": "u", "item_id": "i", "key": "k"} | fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("user_id", ["", "a\0b", "\ud800", "x" * 10_000])
def test_a_user_who_cannot_be_stored_has_done_nothing(store: EventStore, user_id: str) -> None:
    assert store.history(user_id) == []
    assert store.erase(user_id) == 0


def test_the_longest_texts_fit(store: EventStore) -> None:
    # Four bytes each, and not to be compressed: PostgreSQL's indices take at most 2,704 bytes.
    text = "".join(chr(0x1F300 + (number * 7919) % 4096) for number in range(255))
    event = Event(text, text, text)
    store.add(event)
    assert store.history(text) == [event]


class StoreAndDict(RuleBasedStateMachine):
    """Does the same to a store and to a dict, and compares them; closing and opening must not matter."""

    url = ""

    @initialize()
    def empty(self) -> None:
        self.store = EventStore(self.url)
        for user in list(self.store.users()):
            self.store.erase(user)
        self.model: dict[str, Event] = {}

    @rule(
        event=st.builds(
            Event,
            st.sampled_from("uv"),
            st.sampled_from("ij"),
            st.sampled_from("abcdef"),
            st.sampled_from([None, 0.0, 1.5]),
            st.sampled_from([None, EARLY, LATE]),
        )
    )
    def add(self, event: Event) -> None:
        kept = self.model.setdefault(event.key, event)
        if kept is event:
            assert self.store.add(event) == "created"
        elif kept == event:
            assert self.store.add(event) == "repeated"
        else:
            with pytest.raises(ConflictError):
                self.store.add(event)

    @rule()
    def add_again(self) -> None:
        for event in self.model.values():
            assert self.store.add(event) == "repeated"

    @rule(user_id=st.sampled_from("uv"))
    def erase(self, user_id: str) -> None:
        left = {key: event for key, event in self.model.items() if event.user_id != user_id}
        assert self.store.erase(user_id) == len(self.model) - len(left)
        self.model = left

    @rule()
    def open_again(self) -> None:
        self.store.close()
        self.store = EventStore(self.url)

    @invariant()
    def agree(self) -> None:
        events = list(self.model.values())
        assert list(self.store.all()) == events
        assert sorted(self.store.users()) == sorted({event.user_id for event in events})
        middle = (EARLY + LATE) / 2
        ordered = sorted(events, key=lambda event: middle if event.timestamp is None else event.timestamp)
        for user_id in "uv":
            assert self.store.history(user_id) == [event for event in ordered if event.user_id == user_id]

    def teardown(self) -> None:
        self.store.close()


def test_the_store_does_what_a_dict_would(url: str) -> None:
    machine = type("Machine", (StoreAndDict,), {"url": url})
    run_state_machine_as_test(machine, settings=settings(max_examples=15, stateful_step_count=20, deadline=None))


def test_threads_create_each_event_once(store: EventStore) -> None:
    events = [Event(f"u{number % 3}", "i", f"k{number}", timestamp=number) for number in range(25)]
    with ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(store.add, events * 8))
    assert replies.count("created") == len(events)
    assert replies.count("repeated") == 7 * len(events)
    assert sorted(store.all(), key=lambda event: event.timestamp or 0) == events


def test_threads_get_one_winner_where_events_share_a_key(store: EventStore) -> None:
    def reply(number: int) -> str:
        try:
            return store.add(Event("u", f"i{number}", "k"))
        except ConflictError:
            return "conflict"

    with ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(reply, range(24)))
    assert sorted(replies) == ["conflict"] * 23 + ["created"]
    assert [f"i{replies.index('created')}"] == [event.item_id for event in store.all()]


ADD = """
import sys
from neucf.serving.events import Event, EventStore
url, first, end, name = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
with EventStore(url) as store:
    for number in range(first, end):
        reply = store.add(Event("u", str(number), f"{name}{number}", number / 2))
        print(number, reply, flush=True)
"""


def adding(url: str, first: int, end: int, name: str = "k") -> subprocess.Popen[str]:
    """Starts a process that adds events, and says so after each."""
    command = [sys.executable, "-c", ADD, url, str(first), str(end), name]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_processes_that_start_at_once_share_a_new_database(url: str) -> None:
    processes = [adding(url, 0, 10, name) for name in "abc"]
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0, 0]
    with EventStore(url) as store:
        assert len(list(store.all())) == 30


def check_kills(url: str, num_events: int, num_kills: int) -> None:
    """Adds events in a process that is killed again and again; fails unless all it acknowledged are kept, once."""
    acknowledged = 0
    for kill in range(1, num_kills + 2):
        # The event that was under way may have been kept: it is sent again, under its key.
        first = str(acknowledged)
        process = adding(url, acknowledged, num_events)
        assert process.stdout is not None
        for line in process.stdout:
            number, reply = line.split()
            assert int(number) == acknowledged, "out of order"
            assert reply == "created" or number == first, f"{number} was {reply}"
            acknowledged += 1
            if kill <= num_kills and acknowledged == kill * num_events // (num_kills + 1):
                process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert acknowledged == num_events
    with EventStore(url) as store:
        assert [event.item_id for event in store.all()] == [str(number) for number in range(num_events)]


def test_nothing_acknowledged_is_lost_when_the_process_is_killed(url: str) -> None:
    check_kills(url, 60, 2)


@pytest.mark.slow
def test_nothing_of_ten_thousand_is_lost_in_ten_kills(tmp_path: Path) -> None:
    check_kills(f"sqlite:///{tmp_path / 'events.sqlite'}", 10_000, 10)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_every_commit_reaches_the_disk(url: str) -> None:
    engine = open_engine(parse_url(url))
    with engine.connect() as connection:
        pragmas = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
    engine.dispose()
    assert pragmas == ["wal", 2]


@pytest.mark.parametrize("url", [POSTGRES], indirect=True)
def test_every_commit_reaches_the_disk_of_a_server_that_would_not_wait(url: str) -> None:
    hasty = sa.make_url(url).update_query_dict({"options": "-c synchronous_commit=off"})
    engine = open_engine(parse_url(hasty.render_as_string(hide_password=False)))
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
    engine.dispose()


def test_the_default_store_is_private_and_lies_in_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with EventStore(default_url("ml-1m")) as store:
        store.add(Event("u", "i", "k"))
        modes = {
            path.name: path.stat().st_mode & 0o777 for path in [tmp_path / "neucf", *(tmp_path / "neucf").iterdir()]
        }
    assert modes.pop("neucf") == 0o700
    assert modes == dict.fromkeys(("events-ml-1m.sqlite", "events-ml-1m.sqlite-wal", "events-ml-1m.sqlite-shm"), 0o600)


SECRET = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{SECRET}@host:port/db",
        f"postgresql://u:{SECRET}",
        f"postgresql://u:x@{SECRET}@host/db",
        f"postgresql://u:a%40b@{SECRET}@host/db",
        f"mysql://u:{SECRET}@host/db",
        f"postgresql+asyncpg://u:{SECRET}@host/db",
        f"postgres//u:{SECRET}@host/db",
        f"://u:{SECRET}@host/db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///events.sqlite?mode=ro",
        "sqlite:///file:events?mode=memory&uri=true",
        "events.sqlite",
        "",
    ],
)
def test_another_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match="`events` must") as refused:
        EventStore(url)
    assert SECRET not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize("change", ["password", "database", "port", "option"])
@pytest.mark.parametrize("url", [POSTGRES], indirect=True)
def test_a_server_that_refuses_is_an_error_without_password(url: str, change: str) -> None:
    parsed = sa.make_url(url).set(password=SECRET)
    parsed = {
        "password": parsed,
        "database": sa.make_url(url).set(database="absent"),
        "port": parsed.set(port=1),
        "option": parsed.set(query={"password": SECRET, "sslmode": "require"}),
    }[change]
    with pytest.raises(StoreError, match="cannot be reached") as refused:
        EventStore(parsed.render_as_string(hide_password=False))
    assert SECRET not in str(refused.value)
    assert str(sa.make_url(url).password) not in str(refused.value)


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a database, and long enough to be told from an empty one" * 20)
    with pytest.raises(StoreError, match=r"notes\.txt cannot be reached: file is not a database\."):
        EventStore(f"sqlite:///{file}")


def test_a_folder_that_is_absent_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must name a file that can be written; .*No such file"):
        EventStore(f"sqlite:///{tmp_path / 'absent' / 'events.sqlite'}")


def test_a_path_may_hold_what_a_url_may_not(tmp_path: Path) -> None:
    file = tmp_path / "a@b@c:d.sqlite"
    EventStore(f"sqlite:///{file}").close()
    assert file.exists()


def test_a_store_that_must_be_there_is_not_made(url: str) -> None:
    for _ in range(2):
        with pytest.raises(ConfigError, match="`events` must name a"):
            EventStore(url, create=False)
    EventStore(url).close()
    EventStore(url, create=False).close()


def test_an_erasure_does_not_wait_for_who_reads(tmp_path: Path) -> None:
    file = tmp_path / "events.sqlite"
    store = EventStore(f"sqlite:///{file}")
    store.add(Event("SECRETUSER", "1", "k"))
    with closing(sqlite3.connect(file)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM neucf_events").fetchone()
        start = time.monotonic()
        assert store.erase("SECRETUSER") == 1
        assert time.monotonic() - start < 5
    # Nobody reads any more: the next event takes what was erased out of the log
    store.add(Event("another", "1", "l"))
    assert not any(b"SECRETUSER" in path.read_bytes() for path in tmp_path.iterdir())
    store.close()


def test_names_that_a_file_cannot_hold_have_files_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    names = ["ml-100k", "a b", "a.b", "a-b", "\u5546\u54c1", "\u9867\u5ba2"]
    urls = [default_url(name) for name in names]
    assert len(set(urls)) == len(names)
    assert urls[0].endswith("/events-ml-100k.sqlite")
    assert default_url("a b") == urls[1]
