"""Tables of the store: SQLite in WAL mode, or PostgreSQL, through SQLAlchemy.

A slate is one row: what was shown with its propensities, as JSON lists in the order of the slots,
and what could have been shown. An event is one row under its own id. `shelftalk_store` holds the
schema's version, and a beat that says when the store last took a write.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from envs.errors import UserError

VERSION = 1

#: Seconds that a write waits for another worker's, or for a server to answer.
PATIENCE = 3

_tables = sa.MetaData()
_ID = sa.String(128)

STORE = sa.Table(
    "shelftalk_store",
    _tables,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("beat", sa.Float, nullable=False),
)
SLATES = sa.Table(
    "shelftalk_slates",
    _tables,
    sa.Column("slate_id", sa.String(32), primary_key=True),
    sa.Column("session_id", _ID, nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("shown_at", sa.Float(53), nullable=False),
    sa.Column("bundle_id", sa.String(16), nullable=False),
    sa.Column("shopper_id", _ID),
    sa.Column("segment", sa.Integer, nullable=False),
    sa.Column("scene", sa.String(16), nullable=False),
    sa.Column("query", sa.Text),
    sa.Column("beside", _ID),
    sa.Column("policy", sa.Text, nullable=False),
    # [item_id, ...]: all that could have been shown.
    sa.Column("candidates", sa.Text, nullable=False),
    # [[item_id, reason_id, margin, pscore, pscore_cascade, pscore_item_position], ...] by slot.
    sa.Column("shown", sa.Text, nullable=False),
    # [{shown, clicked, bought}, ...]: what the shopper had seen, as the request told it.
    sa.Column("pages", sa.Text),
    sa.Index("shelftalk_slates_by_session", "session_id", "shown_at"),
)
EVENTS = sa.Table(
    "shelftalk_events",
    _tables,
    sa.Column("event_id", _ID, primary_key=True),
    sa.Column("slate_id", sa.String(32), nullable=False, index=True),
    sa.Column("item_id", _ID, nullable=False),
    sa.Column("type", sa.String(16), nullable=False),
    sa.Column("value", sa.Float(53)),
    sa.Column("at", sa.Float(53), nullable=False),
)


def open_engine(url: str, *, reading: bool = False) -> Engine:
    """Return an engine for a store's URL; nothing is connected yet.

    Args:
        url: as SQLAlchemy writes them.
        reading: whether transactions only read, and so leave writers alone.

    Raises:
        UserError: the URL cannot be read, or names a database of another kind.
    """
    try:
        parsed = make_url(url)
        kind = parsed.get_backend_name()
    except ArgumentError:
        raise UserError(
            "--store: must be a URL such as sqlite:///shelftalk.db or "
            "postgresql+psycopg://USER@HOST/DATABASE"
        ) from None
    if kind == "postgresql":
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        timeouts = f"-c statement_timeout={PATIENCE * 1000} -c lock_timeout={PATIENCE * 1000}"
        # Told the encoding, psycopg returns text even from a database that declares none.
        arguments: dict[str, Any] = {"connect_timeout": PATIENCE, "client_encoding": "utf8"}
        try:
            return sa.create_engine(
                parsed,
                connect_args=arguments if reading else arguments | {"options": timeouts},
                pool_size=1,
                max_overflow=2,
                isolation_level="REPEATABLE READ" if reading else "READ COMMITTED",
            )  # fmt: skip
        except (ImportError, NoSuchModuleError) as error:
            raise UserError(
                f"--store: PostgreSQL needs the extra `postgres` ({error}); install "
                "shelftalk[postgres]"
            ) from None
    if kind == "sqlite" and parsed.database and parsed.database != ":memory:":
        engine = sa.create_engine(
            parsed, connect_args={"timeout": PATIENCE, "check_same_thread": False}
        )
        event.listen(engine, "connect", _leave_transactions if reading else _prepare_sqlite)
        event.listen(engine, "begin", _begin_reading if reading else _begin_at_once)
        return engine
    raise UserError(
        f"--store: the store is a file of SQLite or a database of PostgreSQL, not {kind!r} "
        f"({parsed.database or 'without a name'}); write sqlite:///FILE or postgresql://..."
    )


def create_store(engine: Engine) -> None:
    """Make the tables where there are none, and check their version.

    Raises:
        UserError: the store cannot be reached or written, is no store, or is of another version.
    """
    name = shown_url(engine)
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                # One of several services that start at once makes the tables; the rest wait.
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(7305805)"))
            _tables.create_all(connection)
            version = connection.scalar(sa.select(STORE.c.version))
            if version is None:
                now = time.time()
                connection.execute(STORE.insert().values(version=VERSION, created=now, beat=now))
                version = VERSION
    except SQLAlchemyError as error:
        raise UserError(f"--store {name}: cannot be opened ({reason(error)})") from error
    if version != VERSION:
        raise UserError(
            f"--store {name}: its schema is version {version}, and this is version {VERSION}; "
            "serve it with the version of Shelftalk that made it, or begin a new store"
        )


def require_store(engine: Engine) -> None:
    """Check that there is a store of our version, without making one.

    Raises:
        UserError: there is none.
    """
    name = shown_url(engine)
    file = sqlite_file(engine)
    if file is not None and not file.is_file():
        raise UserError(f"{name}: there is no such file; `shelftalk serve` makes one")
    try:
        with engine.connect() as connection:
            if not sa.inspect(connection).has_table(STORE.name):
                raise UserError(f"{name}: holds no store; `shelftalk serve` makes one")
            version = connection.scalar(sa.select(STORE.c.version))
    except SQLAlchemyError as error:
        raise UserError(f"{name}: cannot be opened ({reason(error)})") from error
    if version != VERSION:
        raise UserError(
            f"{name}: its schema is version {version}, and this is version {VERSION}; use the "
            "version of Shelftalk that made it"
        )


def sqlite_file(engine: Engine) -> Path | None:
    """Return the file of a SQLite store, None for another database."""
    return Path(str(engine.url.database)) if engine.dialect.name == "sqlite" else None


def shown_url(engine: Engine) -> str:
    """Return the store's URL without its password."""
    return engine.url.render_as_string(hide_password=True)


def reason(error: SQLAlchemyError) -> str:
    """Return the first line of what the database said."""
    told = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return (str(told).splitlines() or [type(told).__name__])[0]


def _leave_transactions(connection: Any, _: Any) -> None:
    # SQLAlchemy's own transactions: the driver must not begin any by itself.
    connection.isolation_level = None


def _prepare_sqlite(connection: Any, _: Any) -> None:
    _leave_transactions(connection, _)
    # A commit is on the disk before it is acknowledged.
    for setting in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {setting}")


def _begin_reading(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_at_once(connection: sa.Connection) -> None:
    # A transaction that first reads and then writes would fail where another writes in between.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
