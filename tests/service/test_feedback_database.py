"""The store, SQLite and PostgreSQL alike: exactly once, durable, versioned, gone and back."""

from __future__ import annotations

import asyncio
import contextlib
import io
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from envs.errors import UserError
from policies.service.errors import ApiError
from policies.service.export import ExportOptions, export_log
from policies.service.logs import JsonLog
from policies.service.schema import EVENTS, create_store, open_engine, require_store
from policies.service.store import Beat, EventRows, Job, SlateRow, Store, Stored, StoreGone
from policies.service.writer import Writer
from tests.service import postgres


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.server() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a new store."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    running: postgres.Server = request.getfixturevalue("server")
    engine = open_engine(running.url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    engine.dispose()
    return running.url


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    _make(url)
    made = Store(open_engine(url))
    yield made
    made.close()


def _make(url: str) -> None:
    engine = open_engine(url)
    create_store(engine)
    engine.dispose()


def _slate(name: str = "s1", **more: Any) -> SlateRow:
    return SlateRow(
        {
            "slate_id": name, "session_id": f"v-{name}", "step": 0, "shown_at": 1e9,
            "bundle_id": "b", "shopper_id": "u", "segment": 0, "scene": "home", "query": None,
            "beside": None, "policy": "top_k over tuned", "candidates": '["a","b","c"]',
            "shown": '[["a",null,1.5,0.5,0.5,0.5],["b","b/0/x",0.5,0.5,0.5,0.5]]', "pages": None,
        }
        | more
    )  # fmt: skip


def _events(*names: str, item: str = "a", slate: str = "s1", kind: str = "click") -> EventRows:
    return EventRows(
        [
            {"event_id": name, "slate_id": slate, "item_id": item, "type": kind, "value": None,
             "at": 1e9}
            for name in names
        ]
    )  # fmt: skip


def _ids(url: str) -> list[str]:
    engine = open_engine(url, reading=True)
    with engine.connect() as connection:
        found = list(connection.scalars(sa.select(EVENTS.c.event_id)))
    engine.dispose()
    return sorted(found)


def test_an_event_is_stored_once_whatever_group_repeats_it(store: Store, url: str) -> None:
    told = store.write([_events("e1", "e2", "e1"), _slate(), _events("e2", "e3"), Beat()])
    assert told == [Stored(2, 1), Stored(), Stored(1, 1), Stored()]
    assert store.write([_events("e1"), _events("e4")]) == [Stored(0, 1), Stored(1, 0)]
    assert _ids(url) == ["e1", "e2", "e3", "e4"]


def test_a_refused_request_leaves_the_rest_of_its_group_alone(store: Store, url: str) -> None:
    jobs: list[Job] = [
        _slate(),
        _events("x", slate="none"),
        _events("y", "z", item="c"),
        _events("e"),
    ]
    told = store.write(jobs)
    assert [type(one) for one in told] == [Stored, ApiError, ApiError, Stored]
    assert isinstance(told[1], ApiError)
    assert told[1].where == "body.events.0.slate_id"
    assert _ids(url) == ["e"]


def test_writers_side_by_side_store_each_event_once(store: Store, url: str) -> None:
    store.write([_slate()])
    counts: list[Stored] = []

    def send(turn: int) -> None:
        mine = Store(open_engine(url))
        for group in range(20):
            names = [f"{group}-{n}" for n in range(5)]
            # In another order each time: they must not wait for each other in a circle.
            found = mine.write([_events(*(names if turn % 2 else names[::-1]))])
            counts.extend(one for one in found if isinstance(one, Stored))
        mine.close()

    threads = [threading.Thread(target=send, args=(turn,)) for turn in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one.new for one in counts) == 100
    assert sum(one.known for one in counts) == 300
    assert len(_ids(url)) == 100


def test_a_store_is_made_once_and_kept(url: str) -> None:
    threads = [threading.Thread(target=_make, args=(url,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = Store(open_engine(url))
    first.write([_slate(), _events("e")])
    first.close()
    _make(url)
    assert _ids(url) == ["e"]


def test_a_store_of_another_version_is_one_line(url: str) -> None:
    engine = open_engine(url)
    create_store(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE shelftalk_store SET version = 7"))
    for check in (create_store, require_store):
        with pytest.raises(UserError, match="schema is version 7, and this is version 1"):
            check(engine)
    engine.dispose()


def test_the_log_is_the_same_from_either_database(store: Store, url: str, tmp_path: Path) -> None:
    store.write([_slate(), _slate("s2", query="Kettle 'quiet' \u202e 静"), _events("e", item="b")])
    counts = export_log(url, tmp_path / "log", ExportOptions())
    assert counts == {
        "sessions": 2, "slates": 2, "impressions": 4, "clicks": 1, "purchases": 0, "reward": 0.2,
        "empty_slates": 0,
    }  # fmt: skip


def test_postgresql_stopped_and_started_again(server: postgres.Server) -> None:
    engine = open_engine(server.url)
    create_store(engine)
    store = Store(engine)
    store.write([_slate("gone"), _events("before", slate="gone")])
    server.stop()
    with pytest.raises(StoreGone):
        store.write([_events("meanwhile", slate="gone")])
    server.start()
    told = store.write([_events("before", "meanwhile", slate="gone")])
    assert told == [Stored(1, 1)]
    store.close()


def test_sqlite_refuses_to_write_to_a_file_that_is_no_longer_its_own(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    _make(f"sqlite:///{file}")
    store = Store(open_engine(f"sqlite:///{file}"))
    store.write([_slate()])
    file.rename(tmp_path / "away.db")
    with pytest.raises(StoreGone, match="No such file"):
        store.write([_events("lost")])
    with pytest.raises(StoreGone, match="is gone"):
        store.write([_events("lost")])
    (tmp_path / "away.db").rename(file)
    assert store.write([_events("kept")]) == [Stored(1, 0)]
    store.close()


def test_a_full_sqlite_file_refuses_and_then_takes_again(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    _make(f"sqlite:///{file}")
    engine = open_engine(f"sqlite:///{file}")
    pages = 40

    @sa.event.listens_for(engine, "connect")
    def limit(connection: Any, _: Any) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")

    store = Store(engine)
    told: list[str] = []

    def fill() -> None:
        while True:
            name = f"e{len(told)}"
            store.write([_slate(name), _events(name, slate=name)])
            told.append(name)

    with pytest.raises(StoreGone, match="full"):
        fill()
    pages = 10_000
    store.write([_slate("new"), _events("new", slate="new")])
    assert _ids(f"sqlite:///{file}") == sorted([*told, "new"])
    store.close()


def test_what_is_acknowledged_is_on_the_disk(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    _make(f"sqlite:///{file}")
    store = Store(open_engine(f"sqlite:///{file}"))
    store.write([_slate()])
    assert store._connection is not None
    assert store._connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    assert store._connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    store.close()
    with contextlib.closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_one_commit_serves_all_who_wait(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    _make(f"sqlite:///{file}")
    log, groups = io.StringIO(), []

    class Counted(Store):
        def write(self, jobs: Any) -> Any:
            groups.append(len(jobs))
            return super().write(jobs)

    writer = Writer(Counted(open_engine(f"sqlite:///{file}")), JsonLog(b"k", log))

    async def run() -> None:
        await asyncio.gather(*(writer.write(_slate(f"s{n}")) for n in range(300)))
        # Who leaves before the commit begins is not written.
        leaves = asyncio.ensure_future(writer.write(_slate("left")))
        leaves.cancel()
        assert await writer.healthy()

    asyncio.run(run())
    writer.close()
    assert sum(groups) >= 300
    assert len(groups) < 60
    assert log.getvalue() == ""
