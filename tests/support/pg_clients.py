"""Asks a server over the PostgreSQL protocol with psycopg, asyncpg and SQLAlchemy: `pg_clients.py PORT CLIENT`.

Prints `done CLIENT` at the end, `missing CLIENT` if the library is not installed.
"""

import asyncio, datetime, decimal, sys, threading, time

PORT, CLIENT = int(sys.argv[1]), sys.argv[2]
UTC = datetime.timezone.utc
WHEN = datetime.datetime(2026, 3, 29, 1, 59, 59, 123456, tzinfo=UTC)
VALUES = (
    "SELECT CAST(7 AS INT) AS i, CAST(9007199254740993 AS BIGINT) AS b, CAST(-0.5 AS DOUBLE) AS f, "
    "CAST('12345678901234567890.123456789' AS DECIMAL(38, 9)) AS d, TIMESTAMP '2026-03-29T01:59:59.123456Z' AS t, "
    "DATE '2026-02-28' AS day, 'ö''' AS s, true AS yes, CAST(NULL AS VARCHAR) AS n, ARRAY['a', 'b'] AS l"
)
EXPECTED = (7, 9007199254740993, -0.5, decimal.Decimal("12345678901234567890.123456789"), WHEN, datetime.date(2026, 2, 28), "ö'", True, None, ["a", "b"])


def equal(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


def in_utc(row):
    return tuple(value.replace(tzinfo=UTC) if isinstance(value, datetime.datetime) and value.tzinfo is None else value for value in row)


def with_psycopg():
    import psycopg

    connection = psycopg.connect(f"host=127.0.0.1 port={PORT} user=anybody dbname=streamgauge", autocommit=True)
    for binary in (False, True):
        cursor = connection.cursor(binary=binary)
        equal(in_utc(cursor.execute(VALUES).fetchone()), EXPECTED)
        # Often enough that it is prepared.
        for nth in range(8):
            found = cursor.execute("SELECT %s + 1, %s, %s", (nth, f"it's {nth}", None)).fetchone()
            equal(found, (nth + 1, f"it's {nth}", None))
        asked = "SELECT value FROM generate_series(1, 10) WHERE value = ANY(%s) AND value < %s ORDER BY value"
        equal(cursor.execute(asked, ([2, 4, 11], 9)).fetchall(), [(2,), (4,)])
        asked = "SELECT count(*) FROM costs WHERE \"ChargePeriodStart\" >= %s AND \"BilledCost\" > %s AND \"ProviderName\" <> %s"
        equal(cursor.execute(asked, (WHEN, decimal.Decimal("0.01"), "x")).fetchone(), (0,))
    with connection.cursor() as cursor, cursor.copy("COPY (SELECT value, 'a,\"b' FROM generate_series(1, 3)) TO STDOUT (FORMAT csv)") as copy:
        equal(b"".join(bytes(block) for block in copy), b'1,"a,""b"\n2,"a,""b"\n3,"a,""b"\n')
    with connection.pipeline():
        cursors = [connection.execute("SELECT %s::int", (nth,)) for nth in range(20)]
    equal([cursor.fetchone()[0] for cursor in cursors], list(range(20)))
    for wrong, of in [("SELEC 1", psycopg.errors.SyntaxError), ("SELECT nothing FROM costs", psycopg.errors.UndefinedColumn),
                      ("SELECT 1 FROM nothing", psycopg.errors.UndefinedTable), ("DELETE FROM costs", psycopg.errors.ReadOnlySqlTransaction)]:
        try:
            connection.execute(wrong)
        except psycopg.Error as error:
            assert isinstance(error, of), f"{wrong}: {error!r}"
        else:
            sys.exit(f"{wrong} was answered")
    endless = "SELECT count(*) FROM generate_series(1, 100000000000)"
    threading.Timer(0.5, connection.cancel_safe).start()
    begun = time.monotonic()
    try:
        connection.execute(endless)
        sys.exit("it was not canceled")
    except psycopg.errors.QueryCanceled:
        pass
    connection.execute("SET statement_timeout = '300ms'")
    try:
        connection.execute(endless)
        sys.exit("it took no time")
    except psycopg.errors.QueryCanceled:
        assert time.monotonic() - begun < 10
    equal(connection.execute("SELECT 1").fetchone(), (1,))
    connection.autocommit = False
    with connection.transaction():
        equal(connection.execute("SELECT 2").fetchone(), (2,))
    connection.close()


def with_asyncpg():
    import asyncpg

    async def ask():
        connection = await asyncpg.connect(host="127.0.0.1", port=PORT, user="anybody", database="streamgauge")
        row = await connection.fetchrow(VALUES)
        equal(in_utc(row.values()), EXPECTED)
        equal(list(row.keys())[:3], ["i", "b", "f"])
        statement = await connection.prepare("SELECT $1::bigint * 2 AS twice, $2::text AS same, $3::timestamptz AS at")
        equal([parameter.name for parameter in statement.get_parameters()], ["int8", "text", "timestamptz"])
        for nth in range(3):
            equal(tuple(await statement.fetchrow(nth, "x" * nth, WHEN)), (2 * nth, "x" * nth, WHEN))
        async with connection.transaction():
            rows = [row["value"] async for row in connection.cursor("SELECT value FROM generate_series(1, 120)", prefetch=50)]
        equal(rows, list(range(1, 121)))
        equal(await connection.fetchval("SELECT count(*) FROM costs WHERE \"BilledCost\" > $1", decimal.Decimal("0.5")), 0)
        try:
            await asyncio.wait_for(connection.fetchval("SELECT count(*) FROM generate_series(1, 100000000000)"), 0.5)
            sys.exit("it was answered")
        except asyncio.TimeoutError:
            pass
        equal(await connection.fetchval("SELECT 5"), 5)
        await connection.close()

    asyncio.run(ask())


def with_sqlalchemy():
    import sqlalchemy

    engine = sqlalchemy.create_engine(f"postgresql+psycopg://anybody@127.0.0.1:{PORT}/streamgauge")
    seen = sqlalchemy.inspect(engine)
    equal(seen.get_schema_names(), ["information_schema", "public"])
    tables = seen.get_table_names()
    assert {"costs", "samples", "alerts"} <= set(tables), tables
    assert "costs_spread" in seen.get_view_names(), seen.get_view_names()
    columns = {column["name"]: column for column in seen.get_columns("costs")}
    assert isinstance(columns["BilledCost"]["type"], sqlalchemy.Numeric), columns["BilledCost"]
    assert columns["ChargePeriodStart"]["type"].timezone, columns["ChargePeriodStart"]
    assert columns["BilledCost"]["comment"], columns["BilledCost"]
    equal((seen.get_pk_constraint("costs")["constrained_columns"], seen.get_foreign_keys("costs"), seen.get_indexes("costs")), ([], [], []))
    costs = sqlalchemy.Table("costs", sqlalchemy.MetaData(), autoload_with=engine)
    with engine.connect() as connection:
        query = sqlalchemy.select(costs.c.ProviderName, sqlalchemy.func.sum(costs.c.BilledCost)).where(costs.c.BilledCost > 1)
        equal(connection.execute(query.group_by(costs.c.ProviderName).limit(3)).fetchall(), [])
        equal(connection.execute(sqlalchemy.text("SELECT :a + 1"), {"a": 41}).scalar(), 42)


try:
    {"psycopg": with_psycopg, "asyncpg": with_asyncpg, "sqlalchemy": with_sqlalchemy}[CLIENT]()
    print("done", CLIENT)
except ModuleNotFoundError as missing:
    print("missing", missing.name)
