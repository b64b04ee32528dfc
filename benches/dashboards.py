#!/usr/bin/env python3
"""How long a dashboard takes: all queries of all its panels at once, as Grafana's server sends them, until the last is answered.

    benches/dashboards.py                                                     over a demo that it starts and stops
    benches/dashboards.py --url http://127.0.0.1:4090 --pg 127.0.0.1:4032     over a server that runs

Queries of metrics are posted; those in SQL go by the PostgreSQL protocol, over the four connections that `dashboards/provisioning` allows. Variables
have their first values or all of them, the range is the dashboard's own and ends now, so nothing but what a reload would find again is known already;
the first load is shown beside the others. CPU is user and system time of the server by the kernel's accounting, receivers and generator of the demo
included. `--explain SECONDS` prints the plan of queries that took longer. Needs psycopg. Program: STREAMGAUGE by environment, or target/release.
"""

import argparse, concurrent.futures, glob, http.client, json, os, queue, re, statistics, subprocess, sys, tempfile, threading, time, urllib.parse

from promql import STREAMGAUGE
from wire import cpu

PORT, PG_PORT = 14310, 14311
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CONNECTIONS = 4  # maxOpenConns of the provisioned data source
POINTS = 400  # of a panel
SCRAPE_S = 60  # timeInterval of the provisioned data source
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Server:
    """A server that is asked as Grafana asks it."""

    def __init__(self, url, pg):
        import psycopg

        self.address, (host, port) = urllib.parse.urlsplit(url).netloc, pg.rsplit(":", 1)
        self.pool = queue.Queue()
        for _ in range(CONNECTIONS):
            self.pool.put(psycopg.connect(host=host, port=port, dbname="streamgauge", user="grafana", autocommit=True))

    def post(self, path, params):
        connection = http.client.HTTPConnection(self.address, timeout=120)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept-Encoding": "gzip"}
        connection.request("POST" if params else "GET", path, urllib.parse.urlencode(params) or None, headers if params else {})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if answer.status != 200:
            sys.exit(f"{path} {params}: {answer.status} {body[:500]}")
        return body

    def sql(self, statement):
        """Rows of texts, as the simple protocol gives them."""
        connection = self.pool.get()
        try:
            result = connection.pgconn.exec_(statement.encode())
        finally:
            self.pool.put(connection)
        if result.error_message:
            sys.exit(f"{statement}: {result.error_message.decode()}")
        return [[result.get_value(row, column) for column in range(result.nfields)] for row in range(result.ntuples)]


class Filling:
    """What Grafana fills in: variables, then the macros of either data source."""

    def __init__(self, dashboard, server, begin=None):
        begin = begin or dashboard["time"]["from"].removeprefix("now-")
        self.range_s, self.to = int(begin[:-1]) * UNITS[begin[-1]], int(time.time())
        self.step_s = max(SCRAPE_S, self.range_s // POINTS)
        self.values = {"__interval": f"{self.step_s}s", "__range": f"{self.range_s}s"}
        self.values["__rate_interval"] = f"{max(self.step_s + SCRAPE_S, 4 * SCRAPE_S)}s"
        for variable in dashboard["templating"]["list"]:
            self.values[variable["name"]] = self.chosen(variable, server)

    def chosen(self, variable, server):
        if variable["type"] == "query" and isinstance(variable["query"], str):
            found = [value.decode() for value, *_ in server.sql(self.sql(variable["query"]))]
            return found if variable["includeAll"] else found[0]
        return variable.get("allValue") or variable.get("current", {}).get("value")

    def fill(self, text):
        def value(match):
            known = self.values.get(match["braced"] or match["plain"])
            if match["format"] == "sqlstring":
                return ",".join("'" + one.replace("'", "''") + "'" for one in (known if isinstance(known, list) else [known]))
            return match[0] if known is None else known

        return re.sub(r"\$\{(?P<braced>\w+)(?::(?P<format>\w+))?\}|\$(?P<plain>\w+)", value, text)

    def sql(self, text):
        when = lambda seconds: time.strftime("'%Y-%m-%dT%H:%M:%SZ'", time.gmtime(seconds))
        begin, end = when(self.to - self.range_s), when(self.to)

        def macro(match):
            name, arguments = match[1], [argument.strip(" '\"") for argument in match[2].split(",")]
            if name in ("timeGroup", "timeGroupAlias"):
                seconds = int(arguments[1][:-1]) * UNITS[arguments[1][-1]]
                alias = ' AS "time"' if name.endswith("Alias") else ""
                return f"floor(extract(epoch from {arguments[0]})/{seconds})*{seconds}{alias}"
            return {"timeFilter": f"{arguments[0]} BETWEEN {begin} AND {end}", "timeFrom": begin, "timeTo": end, "time": f'{arguments[0]} AS "time"'}[name]

        return re.sub(r"\$__(\w+)\(([^)]*)\)", macro, self.fill(text))

    def call(self, target):
        """A query as it is sent: the path or nothing for SQL, and its parameters or the statement."""
        if "rawSql" in target:
            return None, self.sql(target["rawSql"])
        query, end = self.fill(target["expr"]), self.to // self.step_s * self.step_s
        if target.get("instant"):
            return "/api/v1/query", {"query": query, "time": self.to}
        return "/api/v1/query_range", {"query": query, "start": end - self.range_s, "end": end, "step": self.step_s}


def load(server, calls):
    """Sends all calls at once; seconds until the last is answered, and until each is."""
    start = threading.Barrier(len(calls) + 1)

    def send(path, what):
        start.wait()
        begun = time.monotonic()
        server.post(path, what) if path else server.sql(what)
        return time.monotonic() - begun

    with concurrent.futures.ThreadPoolExecutor(len(calls)) as threads:
        sent = [threads.submit(send, *call) for call in calls]
        start.wait()
        begun = time.monotonic()
        took = [call.result() for call in sent]
        return time.monotonic() - begun, took


def measure(server, pid, file, arguments):
    dashboard = json.load(open(file))
    panels = [(panel["title"], target) for panel in dashboard["panels"] for target in panel.get("targets", [])]
    loads, slowest, before = [], {}, cpu(pid) if pid else 0
    for _ in range(arguments.loads):
        filling = Filling(dashboard, server, arguments.range)
        calls = [filling.call(target) for _, target in panels]
        seconds, took = load(server, calls)
        loads.append(seconds)
        for (title, _), call, own in zip(panels, calls, took):
            slowest[title] = max(slowest.get(title, (0, None)), (own, call), key=lambda known: known[0])
        time.sleep(arguments.pause)
    spent = f"{(cpu(pid) - before) / arguments.loads:.2f}" if pid else ""
    title, (own, _) = max(slowest.items(), key=lambda item: item[1][0])
    first, others = loads[0], loads[1:] or loads
    columns = (dashboard["title"], len(panels), f"{first:.2f}", f"{statistics.median(others):.2f}", f"{max(others):.2f}", f"{title}, {own:.2f}", spent)
    print("| " + " | ".join(map(str, columns)) + " |", flush=True)
    for title, (own, (path, what)) in slowest.items():
        if arguments.explain is not None and own > arguments.explain:
            plan = [] if path else server.sql(f"EXPLAIN ANALYZE {what}")
            print(f"-- {title}: {own:.2f} s\n{what}", *(row[-1].decode() for row in plan), sep="\n")


def demo(work):
    """A demo that is ready."""
    log = os.path.join(work, "demo.log")
    command = [STREAMGAUGE, "demo", "--listen", f"127.0.0.1:{PORT}", "--pg-listen", f"127.0.0.1:{PG_PORT}", "--flight-listen", "off"]
    process = subprocess.Popen(command, stdout=open(log, "w"), stderr=subprocess.STDOUT, env={**os.environ, "TMPDIR": work})
    while "What receivers are told:" not in open(log).read():
        if process.poll() is not None:
            sys.exit(f"the demo ended: {open(log).read()}")
        time.sleep(0.2)
    return process


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dashboards", nargs="*", help="files; all of dashboards/ if none is named")
    parser.add_argument("--url", help="a server that runs; with --pg")
    parser.add_argument("--pg", help="its PostgreSQL protocol, host:port")
    parser.add_argument("--pid", type=int, help="its process id, for its CPU time")
    parser.add_argument("--range", help="what is shown, such as 30d; the dashboard's own without it")
    parser.add_argument("--loads", type=int, default=10)
    parser.add_argument("--pause", type=float, default=1, help="seconds between two loads")
    parser.add_argument("--settle", type=float, default=120, help="seconds that a demo has for its first rules and scrapes")
    parser.add_argument("--explain", type=float, help="seconds from which on a query's plan is printed")
    arguments = parser.parse_args()
    try:
        import psycopg  # noqa: F401
    except ImportError:
        sys.exit("SKIPPED: psycopg is missing: python3 -m pip install 'psycopg[binary]'")
    if (arguments.url is None) != (arguments.pg is None):
        sys.exit("--url and --pg name one server: give both, or neither for a demo")
    with tempfile.TemporaryDirectory() as work:
        started = None if arguments.url else demo(work)
        try:
            if started:
                time.sleep(arguments.settle)
            server = Server(arguments.url or f"http://127.0.0.1:{PORT}", arguments.pg or f"127.0.0.1:{PG_PORT}")
            print("| dashboard | queries | first load, s | median, s | worst, s | slowest panel, s | CPU s a load |\n|---|---|---|---|---|---|---|")
            for file in arguments.dashboards or sorted(glob.glob(os.path.join(ROOT, "dashboards", "*.json"))):
                measure(server, started.pid if started else arguments.pid, file, arguments)
        finally:
            if started:
                started.terminate()
                started.wait()


if __name__ == "__main__":
    main()
