#!/usr/bin/env python3
"""Bills beside DuckDB: how fast a report loads, how large it is afterwards, and how fast months are summed up.

    benches/bills.py load [--rows 5000000]       a CUR-like CSV.gz by `import billing`, and by DuckDB's COPY to Parquet (zstd)
    benches/bills.py month [--rows 5000000 --copies 10]   months by service and team over the same Parquet
    benches/bills.py daily                       `costs_daily` of 400 days by 5,000 groups a day, months by team

Needs `pip install duckdb deltalake pyarrow`, `cargo build --release --workspace --bins --examples`, and some GB of disk (`--dir`). Both have two threads. CPU seconds are
user and system time of the whole process by the kernel's accounting. Every answer is compared.
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from decimal import Decimal

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", pathlib.Path.home() / ".cache/streamgauge/target"))
MONEY = ["lineItem/UnblendedCost", "lineItem/BlendedCost", "pricing/publicOnDemandCost", "savingsPlan/SavingsPlanEffectiveCost"]
PRICES = ["lineItem/UnblendedRate", "lineItem/BlendedRate", "pricing/publicOnDemandRate"]
QUANTITIES = ["lineItem/UsageAmount"]
TIMES = ["bill/BillingPeriodStartDate", "bill/BillingPeriodEndDate", "lineItem/UsageStartDate", "lineItem/UsageEndDate"]


def streamgauge(*args):
    return [str(TARGET / "release/streamgauge"), *map(str, args)]


def timed(command, **options):
    """Runs a command; wall and CPU seconds, and its largest resident size in MiB."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command} ends with {process.returncode}: {out}")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, out


def report(folder, rows):
    """A report of so many rows, made once."""
    path = folder / f"cur-{rows}.csv.gz"
    if not path.exists():
        decode = str(TARGET / "release/examples/decode")
        with open(path.with_suffix(".new"), "wb") as out:
            generate = subprocess.Popen([decode, "generate", str(rows)], stdout=subprocess.PIPE)
            subprocess.run(["gzip", "-6"], stdin=generate.stdout, stdout=out, check=True)
            if generate.wait():
                sys.exit("the report cannot be generated")
        path.with_suffix(".new").rename(path)
    return path


COPY = """
import duckdb, sys
source, target, header = sys.argv[1], sys.argv[2], sys.argv[3].split(",")
money, prices, quantities, times = (set(names.split(",")) for names in sys.argv[4:8])
con = duckdb.connect(config={"threads": 2})
con.execute("SET TimeZone = 'UTC'")
def column(name):
    if name in money or name in prices:
        return f'CAST("{name}" AS DECIMAL(38, 22)) AS "{name}"'
    if name in quantities:
        return f'CAST("{name}" AS DECIMAL(38, 15)) AS "{name}"'
    if name in times:
        return f'CAST("{name}" AS TIMESTAMPTZ) AS "{name}"'
    return f'"{name}"'
# Ids of lines say nothing, are a third of a report, and we do not keep them.
columns = ", ".join(column(name) for name in header if name != "identity/LineItemId")
con.execute(f"COPY (SELECT {columns} FROM read_csv('{source}', all_varchar = true, header = true)) TO '{target}' (FORMAT parquet, COMPRESSION zstd)")
print(con.execute(f"SELECT sum(\\"lineItem/UnblendedCost\\") FROM read_parquet('{target}')").fetchone()[0])
"""


def load(args):
    import deltalake
    import duckdb

    source = report(args.dir, args.rows)
    header = subprocess.run(f"zcat '{source}' | head -1", shell=True, capture_output=True, text=True).stdout.strip()
    rounds = {"ours": [], "duckdb": []}
    for nth in range(args.rounds):
        for who in ("ours", "duckdb") if nth % 2 == 0 else ("duckdb", "ours"):
            if who == "ours":
                data = fresh(args.dir / "load")
                rounds[who].append(timed(streamgauge("import", "billing", source, "--export", "aws", "--data-dir", data)))
            else:
                target = args.dir / "duckdb.parquet"
                target.unlink(missing_ok=True)
                names = [",".join(names) for names in (MONEY, PRICES, QUANTITIES, TIMES)]
                rounds[who].append(timed([sys.executable, "-c", COPY, str(source), str(target), header, *names]))
    def files(table):
        return deltalake.DeltaTable(f"{args.dir}/load/tables/default/{table}").file_uris()
    def size(table):
        return sum(map(os.path.getsize, files(table)))
    costs, theirs = size("costs"), (args.dir / "duckdb.parquet").stat().st_size
    con = duckdb.connect(config={"threads": 2})
    again = args.dir / "duckdb-costs.parquet"
    con.execute(f"COPY (SELECT * FROM read_parquet({files('costs')!r}, hive_partitioning = false)) TO '{again}' (FORMAT parquet, COMPRESSION zstd)")
    same = again.stat().st_size
    answer = subprocess.run(
        streamgauge("sql", "--format", "csv", "SELECT sum(x_DeliveredCost), count(*) FROM costs", "--data-dir", args.dir / "load"),
        capture_output=True, text=True, check=True).stdout.splitlines()[1]
    total, count = answer.strip().split(",")
    assert Decimal(total) == Decimal(rounds["duckdb"][0][3].split()[-1]), (total, rounds["duckdb"][0][3][-200:])
    print(f"load rows={count} gz_mb={source.stat().st_size / 1e6:.0f} total={total}")
    medians = {}
    for who, runs in rounds.items():
        wall, cpu, rss = (statistics.median(run[i] for run in runs) for i in range(3))
        medians[who] = (wall, cpu)
        print(f"load {who} wall_s={wall:.1f} cpu_s={cpu:.1f} peak_mib={rss:.0f}")
    (wall, cpu), (their_wall, their_cpu) = medians["ours"], medians["duckdb"]
    timed(streamgauge("upkeep", "--once", "--data-dir", args.dir / "load"))
    rows, merged = int(count), size("costs")
    print(f"load ratio wall={wall / their_wall:.2f} cpu={cpu / their_cpu:.2f} bytes={merged / same:.2f}")
    print(f"load bytes_per_row ours={costs / rows:.1f} merged={merged / rows:.1f} duckdb_report={theirs / rows:.1f} duckdb_costs={same / rows:.1f} daily={size('costs_daily') / rows:.2f} hourly={size('costs_hourly') / rows:.2f}")


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    return folder


class Server:
    def __init__(self, data):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        listen = self.url.removeprefix("http://")
        self.process = subprocess.Popen(streamgauge("serve", "--data-dir", data, "--listen", listen, "--log-level", "warn"))
        for _ in range(600):
            try:
                return urllib.request.urlopen(f"{self.url}/-/ready").close()
            except OSError:
                time.sleep(0.1)
        sys.exit("the server does not become ready")

    def sql(self, text):
        body = json.dumps({"query": text, "format": "json"}).encode()
        request = urllib.request.Request(f"{self.url}/api/v1/sql", data=body, headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def rows_of(answer):
    return answer["data"]["rows"] if "data" in answer else answer["rows"]


def month(args):
    """The same bill many times, which only `costs_uncounted` takes; its files are those of `costs`."""
    import deltalake
    import duckdb

    source = report(args.dir, args.rows)
    data = args.dir / f"month-{args.rows}-{args.copies}"
    if not data.exists():
        for nth in range(args.copies):
            timed(streamgauge("import", "billing", source, "--export", f"aws{nth}", "--data-dir", data, "--uncounted"))
    server = Server(data)
    try:
        files = deltalake.DeltaTable(f"{data}/tables/default/costs_uncounted").file_uris()
        con = duckdb.connect(config={"threads": 2})
        con.execute("SET TimeZone = 'UTC'")
        con.execute(f"CREATE VIEW costs_uncounted AS SELECT * FROM read_parquet({files!r}, hive_partitioning = false)")
        queries = {
            "service": ("SELECT date_trunc('month', ChargePeriodStart) AS m, ServiceName, sum(BilledCost) AS b, sum(EffectiveCost) AS e FROM costs_uncounted GROUP BY 1, 2 ORDER BY 1, 2",) * 2,
            "service_and_team": (
                "SELECT date_trunc('month', ChargePeriodStart) AS m, ServiceName, Tags->>'user:tag0' AS team, sum(BilledCost) AS b, sum(EffectiveCost) AS e FROM costs_uncounted GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
                "SELECT date_trunc('month', ChargePeriodStart) AS m, ServiceName, Tags['user:tag0'] AS team, sum(BilledCost) AS b, sum(EffectiveCost) AS e FROM costs_uncounted GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
            ),
        }
        for name, (ours, theirs) in queries.items():
            mine, other = rows_of(server.sql(ours)), con.execute(theirs).fetchall()
            assert len(mine) == len(other), (len(mine), len(other))
            total = sum(Decimal(str(list(row.values())[-2] if isinstance(row, dict) else row[-2])) for row in mine)
            assert total == sum(row[-2] for row in other), (total, other[:3])
            times = {"ours": [], "theirs": []}
            for _ in range(args.rounds):
                for who, run in (("ours", lambda: server.sql(ours)), ("theirs", lambda: con.execute(theirs).fetchall())):
                    began, cpu = time.perf_counter(), server.cpu() if who == "ours" else sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
                    run()
                    wall = time.perf_counter() - began
                    spent = (server.cpu() if who == "ours" else sum(resource.getrusage(resource.RUSAGE_SELF)[:2])) - cpu
                    times[who].append((wall, spent))
            (a, ac), (b, bc) = (tuple(statistics.median(t[i] for t in times[who]) for i in (0, 1)) for who in times)
            print(f"month {name} rows={len(mine)} ours_s={a:.3f} duckdb_s={b:.3f} ratio={a / b:.2f} cpu={ac:.2f}/{bc:.2f}", flush=True)
    finally:
        server.stop()


def daily(args):
    """A FOCUS file a month: 400 days, 50 accounts by 20 services by 5 teams."""
    import datetime

    data = args.dir / "daily"
    if not data.exists():
        first = datetime.date(2025, 1, 1)
        months = {}
        for nth in range(400):
            day = first + datetime.timedelta(days=nth)
            months.setdefault(day.strftime("%Y-%m"), []).append(day)
        for name, days in months.items():
            path = args.dir / f"focus-{name}.csv"
            begin = datetime.date.fromisoformat(f"{name}-01")
            end = (begin + datetime.timedelta(days=32)).replace(day=1)
            with open(path, "w") as out:
                out.write("BilledCost,EffectiveCost,ListCost,ContractedCost,BillingAccountId,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,InvoiceIssuerName,ProviderName,PublisherName,ServiceCategory,ServiceName,SubAccountId,Tags\n")
                for day in days:
                    next_day = day + datetime.timedelta(days=1)
                    for group in range(5000):
                        cost = f"{group % 97}.{(group * 7919 + day.toordinal()) % 1000000:06}"
                        team = '"{""Team"": ""team-%d""}"' % (group % 5)
                        out.write(f"{cost},{cost},{cost},{cost},1,USD,{begin}T00:00:00Z,{end}T00:00:00Z,{day}T00:00:00Z,{next_day}T00:00:00Z,Usage,AWS,AWS,AWS,Compute,service-{group // 5 % 20},{group // 100},{team}\n")
            timed(streamgauge("import", "billing", path, "--export", "focus", "--part", name, "--data-dir", data))
            path.unlink()
    server = Server(data)
    try:
        (count,) = rows_of(server.sql("SELECT count(*) AS n FROM costs_daily"))
        for name, text in {
            "month_by_team": "SELECT date_trunc('month', ChargePeriodStart) AS m, Team, sum(EffectiveCost) AS e FROM costs_daily GROUP BY 1, 2 ORDER BY 1, 2",
            "billing_month_by_team": "SELECT x_BillingMonth AS m, Team, sum(EffectiveCost) AS e FROM costs_daily GROUP BY 1, 2 ORDER BY 1, 2",
            "one_month_by_team": "SELECT Team, sum(EffectiveCost) AS e FROM costs_daily WHERE x_BillingMonth = '2025-06-01' GROUP BY 1 ORDER BY 1",
        }.items():
            times = []
            for _ in range(args.rounds * 5):
                began = time.perf_counter()
                answer = rows_of(server.sql(text))
                times.append(time.perf_counter() - began)
            print(f"daily {name} groups={count} rows={len(answer)} first_ms={times[0] * 1e3:.1f} warm_ms={statistics.median(times[1:]) * 1e3:.1f}")
    finally:
        server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["load", "month", "daily"])
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--copies", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", type=pathlib.Path, default=pathlib.Path("/tmp/streamgauge-bills"))
    args = parser.parse_args()
    args.dir.mkdir(parents=True, exist_ok=True)
    {"load": load, "month": month, "daily": daily}[args.what](args)
