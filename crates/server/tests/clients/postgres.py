"""Reads a log over the PostgreSQL protocol, as programs do. The argument is the URL; it has two calls of one session."""

import datetime
import sys
import threading
import time

import psycopg
import sqlalchemy

url = sys.argv[1]


def sqlstate(connection, statement, *values):
    try:
        connection.execute(statement, *values).fetchall()
    except psycopg.Error as error:
        connection.rollback()
        return error.sqlstate
    return None


def types(connection):
    for binary in (False, True):
        with connection.cursor(binary=binary) as cursor:
            row = cursor.execute(
                "SELECT time, status, duration_ms, stream, tags, session, leaf_index FROM interactions ORDER BY leaf_index"
            ).fetchone()
            when, status, duration, stream, tags, session, leaf = row
            assert isinstance(when, datetime.datetime) and when.utcoffset() == datetime.timedelta(0), row
            age = datetime.datetime.now(datetime.timezone.utc) - when
            assert datetime.timedelta(0) <= age < datetime.timedelta(minutes=10), row
            assert (status, stream, session) == (200, None, "s1"), row
            assert tags == {"team": "support", "beta": ""}, row
            assert isinstance(duration, float) and isinstance(leaf, int), row


def parameters(connection):
    by_session = "SELECT count(*) FROM interactions WHERE session = %s AND status = %s AND time > %s"
    yesterday = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
    for prepare in (False, True, True):
        assert connection.execute(by_session, ("s1", 200, yesterday), prepare=prepare).fetchone() == (2,)
        assert connection.execute(by_session, ("s2'; --", 200, yesterday), prepare=prepare).fetchone() == (0,)
    ids = [row[0] for row in connection.execute("SELECT id FROM interactions")]
    found = connection.execute("SELECT count(*) FROM interactions WHERE id = %s OR id = %s", ids).fetchone()
    assert found == (2,), found


def every_column(connection):
    tables = connection.execute(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1"
    ).fetchall()
    assert ("interactions",) in tables and ("records",) in tables, tables
    for (table,) in tables:
        for binary in (False, True):
            with connection.cursor(binary=binary) as cursor:
                cursor.execute(psycopg.sql.SQL("SELECT * FROM {} LIMIT 20").format(psycopg.sql.Identifier(table)))
                cursor.fetchall()


def catalogue(connection):
    def rows(statement, *values):
        return connection.execute(statement, values).fetchall()

    types = "SELECT column_name, data_type, udt_name FROM information_schema.columns WHERE table_name = %s ORDER BY 1"
    known = {name: (data_type, udt) for name, data_type, udt in rows(types, "interactions")}
    assert known["time"] == ("timestamp with time zone", "timestamptz"), known
    assert known["leaf_index"] == ("bigint", "int8") and known["finish_reasons"] == ("ARRAY", "_text"), known
    assert ("interactions", "VIEW") in rows("SELECT table_name, table_type FROM information_schema.tables")
    # What dashboards ask for and no log has.
    keys = """SELECT r.col AS "COLUMN_NAME", r.seq FROM (
            SELECT a.attname AS col, (information_schema._pg_expandarray(i.indkey)).n AS seq, a.attnum AS num,
                information_schema._pg_expandarray(i.indkey) AS keys
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON c.oid = a.attrelid
                JOIN pg_catalog.pg_index i ON a.attrelid = i.indrelid WHERE c.relname = %s AND i.indisprimary
        ) r WHERE r.num = (r.keys).x ORDER BY 2"""
    assert rows(keys, "interactions") == []
    foreign = """SELECT t.relname, a.attname FROM pg_constraint c JOIN pg_class t ON c.conrelid = t.oid
        JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = ANY(c.conkey) WHERE c.contype = 'f'::char AND t.relname <> %s"""
    assert rows(foreign, "x") == []
    described = """SELECT column_name, format('%%I.%%I', table_schema, table_name),
            col_description(CAST(CAST(format('%%I.%%I', table_schema, table_name) AS regclass) AS oid), ordinal_position)
        FROM information_schema.columns WHERE table_name = 'steps' AND column_name = 'time'"""
    assert rows(described) == [("time", "public.steps", None)]
    connection.commit()


def errors(connection):
    for statement, expected in [
        ("INSERT INTO records (id) VALUES ('x')", "25006"),
        ("CREATE TABLE t (a int)", "25006"),
        ("DROP VIEW interactions", "25006"),
        ("COPY records TO '/tmp/x'", "0A000"),
        ("SELEC 1", "42601"),
        ("SELECT nothing FROM interactions", "42703"),
        ("SELECT * FROM nowhere", "42P01"),
        ("SET statement_timeout = '1ms'; SELECT count(*) FROM range(1, 4000000000)", "57014"),
    ]:
        found = sqlstate(connection, statement)
        assert found == expected, (statement, found)
    connection.execute("RESET statement_timeout")
    connection.commit()


def settings(connection):
    def purpose():
        return connection.execute("SHOW onrecord.purpose").fetchone()[0]

    connection.execute("SET onrecord.purpose = 'one'")
    connection.commit()
    with connection.transaction():
        connection.execute("SET LOCAL onrecord.purpose = 'two'")
        assert purpose() == "two"
    assert purpose() == "one"
    connection.execute("SET onrecord.purpose TO DEFAULT")
    assert purpose() == ""
    connection.execute("SET onrecord.purpose = 'three'")
    connection.commit()
    connection.autocommit = True
    connection.execute("DISCARD ALL")
    connection.autocommit = False
    assert purpose() == ""
    connection.commit()


def savepoints(connection):
    with connection.transaction():
        try:
            with connection.transaction():
                connection.execute("SELECT nothing FROM interactions")
        except psycopg.errors.UndefinedColumn:
            pass
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert connection.execute("SELECT 2").fetchone() == (2,)
    connection.commit()


def cancellation(connection):
    timer = threading.Timer(0.3, connection.cancel)
    timer.start()
    began = time.monotonic()
    endless = "SELECT count(*) FROM range(1, 4000000000) a WHERE a.value % 7 = 3"
    assert sqlstate(connection, endless) == "57014"
    assert time.monotonic() - began < 10
    timer.join()
    assert connection.execute("SELECT 1").fetchone() == (1,)


def with_sqlalchemy():
    engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    # It asks for the version and for an extension's type when it connects.
    views = sqlalchemy.inspect(engine).get_view_names()
    assert "interactions" in views and "sessions" in views, views
    with engine.connect() as connection:
        statement = sqlalchemy.text("SELECT session, calls FROM sessions WHERE session = :wanted")
        assert connection.execute(statement, {"wanted": "s1"}).all() == [("s1", 2)]


with psycopg.connect(url, application_name="the client's test") as connection:
    connection.execute("SET onrecord.purpose = 'a test of types'")
    types(connection)
    parameters(connection)
    every_column(connection)
    catalogue(connection)
    errors(connection)
    cancellation(connection)
    settings(connection)
    savepoints(connection)
with_sqlalchemy()
print("ok")
