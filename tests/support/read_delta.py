"""Reads Delta tables with engines that are not ours, and prints what it finds as JSON.

    read_delta.py <folder of the tables, or its URL> [<table> …]

Two readers: the `deltalake` package's own query engine, and DuckDB over that package's list of active files, with the
partition taken from the path; DuckDB is left out for tables in a bucket, which it needs an extension for. Per reader and
table: counts, sums, bounds and lengths of nested values by metric. Exits with 77 if a package is missing.
"""

import json
import sys

try:
    import deltalake
    import duckdb
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(77)

SUMMARIES = {
    "samples": """
        SELECT metric, CAST(day AS VARCHAR) AS day, count(*) AS rows, count(DISTINCT series_id) AS series,
               CAST(sum(value) AS VARCHAR) AS total, min({us}) AS first_us, max({us}) AS last_us
        FROM t GROUP BY metric, day ORDER BY metric, day
    """,
    "series": """
        SELECT metric, CAST(day AS VARCHAR) AS day, count(*) AS rows, count(DISTINCT series_id) AS series
        FROM t GROUP BY metric, day ORDER BY metric, day
    """,
    "histograms": """
        SELECT metric, CAST(day AS VARCHAR) AS day, count(*) AS rows, CAST(sum(count_int) AS BIGINT) AS observations,
               CAST(sum(sum) AS VARCHAR) AS total, CAST(sum({len}(positive_deltas)) AS BIGINT) AS buckets
        FROM t GROUP BY metric, day ORDER BY metric, day
    """,
    "exemplars": """
        SELECT metric, CAST(day AS VARCHAR) AS day, count(*) AS rows, CAST(sum(value) AS VARCHAR) AS total,
               CAST(sum(cardinality(labels)) AS BIGINT) AS labels
        FROM t GROUP BY metric, day ORDER BY metric, day
    """,
    "metadata": "SELECT metric, type, unit, help FROM t ORDER BY metric",
}


def by_deltalake(table, query):
    engine = deltalake.QueryBuilder().register("t", table)
    batches = engine.execute(query.replace("{us}", "CAST(ts AS BIGINT)").replace("{len}", "array_length")).read_all()
    columns = {name: batches.column(name).to_pylist() for name in batches.schema.names}
    return [list(row) for row in zip(*columns.values())]


def by_duckdb(table, query):
    files = [str(uri).removeprefix("file://") for uri in table.file_uris()]
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.read_parquet(files, hive_partitioning=bool(table.metadata().partition_columns)).create_view("t")
    return [list(row) for row in connection.execute(query.replace("{us}", "epoch_us(ts)").replace("{len}", "len")).fetchall()]


def main():
    found = {}
    folder, names = sys.argv[1].rstrip("/"), sys.argv[2:] or list(SUMMARIES)
    for name in names:
        table = deltalake.DeltaTable(f"{folder}/{name}")
        found[name] = {"deltalake": by_deltalake(table, SUMMARIES[name])}
        if "://" not in folder:
            found[name]["duckdb"] = by_duckdb(table, SUMMARIES[name])
    json.dump(found, sys.stdout, default=str)


main()
