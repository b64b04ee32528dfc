"""The same SQL by the server and by DuckDB, over the same Parquet files, in turn.

Run by `scale.sh month`: `duckdb_sql.py URL DATA_DIR`. DuckDB reads exactly the active files of table `samples`, with two threads; the
server answers with as many as the machine has cores, so compare on two. Every answer of the server is compared with DuckDB's.
Prints median seconds of both, their ratio, and the geometric mean of the ratios.
"""

import math
import statistics
import sys
import time
import urllib.request

import duckdb
import pyarrow as pa
from deltalake import DeltaTable

ROUNDS = 9
QUERIES = {
    "sum": "SELECT sum(value) AS a, count(*) AS b FROM samples",
    "by_metric": "SELECT metric, sum(value) AS a, max(value) AS b FROM samples GROUP BY metric",
    "by_series": "SELECT metric, series_id, sum(value) AS a, count(*) AS b FROM samples GROUP BY metric, series_id",
    "by_hour": "SELECT {bin} AS t, sum(value) AS a, count(*) AS b FROM samples GROUP BY 1",
    "by_series_and_day": "SELECT metric, series_id, {day} AS t, avg(value) AS a FROM samples GROUP BY 1, 2, 3",
}
OURS = {"bin": "date_bin(INTERVAL '1 hour', ts)", "day": "date_bin(INTERVAL '1 day', ts)"}
THEIRS = {"bin": "time_bucket(INTERVAL '1 hour', ts)", "day": "time_bucket(INTERVAL '1 day', ts)"}


def main(url, data):
    files = DeltaTable(f"{data}/tables/default/samples").file_uris()
    con = duckdb.connect(config={"threads": 2})
    con.execute("SET TimeZone = 'UTC'")
    con.execute(f"CREATE VIEW samples AS SELECT * FROM read_parquet({files!r}, hive_partitioning = false)")

    def ours(sql):
        request = urllib.request.Request(f"{url}/api/v1/sql?format=arrow", data=sql.encode(), method="POST")
        with urllib.request.urlopen(request) as answer:
            return pa.ipc.open_stream(answer.read()).read_all()

    def theirs(sql):
        return con.execute(sql).fetchone()

    ratios = []
    for name, sql in QUERIES.items():
        # One row is the answer: how fast a long one is written down is another question.
        total = f"SELECT count(*) AS n, sum(a) AS a FROM ({sql}) AS q"
        (mine,) = ours(total.format(**OURS)).to_pylist()
        other = dict(zip(("n", "a"), theirs(total.format(**THEIRS))))
        assert mine["n"] == other["n"] and math.isclose(mine["a"], other["a"], rel_tol=1e-9), (name, mine, other)
        times = {"ours": [], "theirs": []}
        for _ in range(ROUNDS):
            for who, run, words in (("ours", ours, OURS), ("theirs", theirs, THEIRS)):
                began = time.perf_counter()
                run(total.format(**words))
                times[who].append(time.perf_counter() - began)
        a, b = statistics.median(times["ours"]), statistics.median(times["theirs"])
        ratios.append(a / b)
        print(f"sql {name} ours_s={a:.3f} duckdb_s={b:.3f} ratio={a / b:.2f} rows={mine['n']}", flush=True)
    print(f"sql geomean={statistics.geometric_mean(ratios):.2f} worst={max(ratios):.2f} duckdb={duckdb.__version__}")


main(*sys.argv[1:])
