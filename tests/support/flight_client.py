"""Asks a server over Arrow Flight SQL with the ADBC driver: `flight_client.py PORT [NAME TOKEN AUTHORITY]`, the last three where it has tokens and TLS.

Prints `done` at the end, `missing …` if a library is not installed.
"""

import datetime, decimal, sys, threading, time

PORT, LOGIN = sys.argv[1], sys.argv[2:]
UTC = datetime.timezone.utc
WHEN = datetime.datetime(2026, 3, 29, 1, 59, 59, 123456, tzinfo=UTC)
VALUES = (
    "SELECT CAST(7 AS INT) AS i, CAST(9007199254740993 AS BIGINT) AS b, CAST(-0.5 AS DOUBLE) AS f, "
    "CAST('12345678901234567890.123456789' AS DECIMAL(38, 9)) AS d, "
    "CAST('2026-03-29T01:59:59.123456Z' AS TIMESTAMP WITH TIME ZONE) AS t, "
    "DATE '2026-02-28' AS day, 'ö''' AS s, true AS yes, CAST(NULL AS VARCHAR) AS n, ARRAY['a', 'b'] AS l, MAP {'k': 'v'} AS m"
)
EXPECTED = (7, 9007199254740993, -0.5, decimal.Decimal("12345678901234567890.123456789"), WHEN, datetime.date(2026, 2, 28), "ö'", True, None,
            ["a", "b"], [("k", "v")])
ENDLESS = "SELECT count(*) FROM generate_series(1, 100000000000)"


def equal(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


def in_utc(row):
    return tuple(value.replace(tzinfo=UTC) if isinstance(value, datetime.datetime) and value.tzinfo is None else value for value in row)


def refused(flight, what, word):
    """What is asked is refused with a sentence that has a word in it."""
    try:
        what()
    except flight.Error as error:
        assert word.lower() in str(error).lower(), f"{word}: {error}"
        return
    sys.exit(f"it was answered, and should be refused: {word}")


def asked(flight, connection):
    with connection.cursor() as cursor:
        cursor.execute(VALUES)
        table = cursor.fetch_arrow_table()
        equal(in_utc(tuple(table.to_pylist()[0].values())), EXPECTED)
        types = [str(field.type) for field in table.schema]
        equal(types[:4], ["int32", "int64", "double", "decimal128(38, 9)"])
        assert types[4].startswith("timestamp[") and "tz=" in types[4], types[4]
        equal(types[5:8], ["date32[day]", "string", "bool"])
        assert types[9].startswith("list<") and types[10].startswith("map<string"), types
        # Once prepared, with other values each time.
        for nth in range(4):
            cursor.execute("SELECT $1 + 1 AS n, $2 AS s, $3 AS nothing", (nth, f"it's {nth}", None))
            equal(cursor.fetchall(), [(nth + 1, f"it's {nth}", None)])
        query = 'SELECT count(*) FROM costs WHERE "ChargePeriodStart" >= $1 AND "BilledCost" > $2 AND "ProviderName" <> $3'
        equal(cursor.execute(query, (WHEN, decimal.Decimal("0.01"), "x")).fetchone(), (0,))
        equal(cursor.execute("SELECT '?' || ?, ? * 2", ("a", 4)).fetchone(), ("?a", 8))
        query = "SELECT value FROM generate_series(1, 10) WHERE value = ANY($1) AND value < $2 ORDER BY value"
        equal(cursor.execute(query, ([2, 4, 11], 9)).fetchall(), [(2,), (4,)])
        # More than fits into one message.
        cursor.execute("SELECT value, CAST(value AS VARCHAR) AS word FROM generate_series(1, 500000) ORDER BY value")
        rows = 0
        for batch in cursor.fetch_record_batch():
            equal(batch.column(0)[0].as_py(), rows + 1)
            rows += batch.num_rows
        equal(rows, 500_000)
        cursor.execute("SELECT * FROM samples WHERE false")
        assert cursor.fetch_arrow_table().num_rows == 0 and "metric" in [column[0] for column in cursor.description]
        equal(cursor.adbc_execute_schema("SELECT 1 AS one").names, ["one"])


def catalog(connection):
    info = connection.adbc_get_info()
    equal(info["vendor_name"], "Streamgauge")
    equal(connection.adbc_get_table_types(), ["TABLE", "VIEW"])
    schema = connection.adbc_get_table_schema("costs", db_schema_filter="public")
    equal(str(schema.field("BilledCost").type).split("(")[0], "decimal128")
    found = connection.adbc_get_objects(db_schema_filter="public", table_name_filter="costs%").read_all().to_pylist()
    equal([catalog["catalog_name"] for catalog in found], ["streamgauge"])
    tables = {table["table_name"]: table for part in found[0]["catalog_db_schemas"] for table in part["db_schema_tables"]}
    equal((tables["costs"]["table_type"], tables["costs_spread"]["table_type"]), ("TABLE", "VIEW"))
    assert "BilledCost" in [column["column_name"] for column in tables["costs"]["table_columns"]]
    everything = connection.adbc_get_objects(depth="all").read_all().to_pylist()
    assert "information_schema" in [part["db_schema_name"] for part in everything[0]["catalog_db_schemas"]]


def refusals(flight, connection):
    for query, word in [("SELEC 1", "not valid SQL"), ("SELECT nothing FROM costs", "nothing"), ("SELECT 1 FROM nothing", "nothing"),
                        ("DELETE FROM costs", "queries only read"), ("SELECT 1; SELECT 2", "one statement")]:
        with connection.cursor() as cursor:
            refused(flight, lambda: cursor.execute(query).fetchall(), word)
    with connection.cursor() as cursor:
        refused(flight, lambda: cursor.executemany("SELECT $1", [(1,), (2,)]), "queries only read")


def cancelled(flight, connection):
    begun = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute(ENDLESS)
        threading.Timer(0.5, cursor.adbc_cancel).start()
        refused(flight, cursor.fetchall, "cancel")
    assert time.monotonic() - begun < 20
    with connection.cursor() as cursor:
        equal(cursor.execute("SELECT 5").fetchone(), (5,))


def main():
    try:
        import adbc_driver_flightsql.dbapi as flight, pyarrow
        from adbc_driver_flightsql import DatabaseOptions
    except ModuleNotFoundError as missing:
        return print("missing", missing.name)

    if not LOGIN:
        with flight.connect(f"grpc://127.0.0.1:{PORT}", autocommit=True) as connection:
            asked(flight, connection)
            catalog(connection)
            refusals(flight, connection)
            cancelled(flight, connection)
        return print("done")
    name, token, authority = LOGIN
    uri, roots = f"grpc+tls://127.0.0.1:{PORT}", {DatabaseOptions.TLS_ROOT_CERTS.value: open(authority).read()}
    for ways in [{"username": name, "password": token}, {DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {token}"}]:
        with flight.connect(uri, db_kwargs={**roots, **ways}, autocommit=True) as connection:
            asked(flight, connection)
            catalog(connection)

    def wrong():
        with flight.connect(uri, db_kwargs={**roots, "username": name, "password": "sg_wrong"}, autocommit=True) as connection:
            connection.cursor().execute("SELECT 1")

    refused(flight, wrong, "token")
    print("done")


main()
