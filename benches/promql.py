#!/usr/bin/env python3
"""Asks the same ten dashboard queries of streamgauge, VictoriaMetrics and Prometheus over the same data, and prints a table.

    benches/promql.py                      one hour at 15 s, as it lies after the load; step 15 s
    benches/promql.py --hours 24 --interval 60 --step 60 --stored
    benches/promql.py --hours 24 --interval 60 --step 60 --stored --cold 3

All three servers run at once on this machine and are asked one after another, query by query, round by round; the order turns by one
each round. Wall time is that of the whole answer on a connection that is kept open; CPU is user and system time of the server's
process by the kernel's accounting. The median of each query is shown, and its ratio to the faster peer. Before that, answers are
compared: Prometheus' is the truth, differences are counted for streamgauge. VictoriaMetrics differs by design (no extrapolation);
both it and streamgauge get `nocache=1`. With `--cold N` there are N more rounds, in which a server is begun anew before each query, without
what the system has read of its files (needs root). Programs: STREAMGAUGE and LOAD by environment, or target/release. Everything started is stopped by its process id.
"""

import argparse, http.client, json, math, os, shutil, signal, statistics, subprocess, sys, tempfile, threading, time
import urllib.parse

TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.expanduser("~/.cache/streamgauge/target"))
STREAMGAUGE = os.environ.get("STREAMGAUGE", f"{TARGET}/release/streamgauge")
LOAD = os.environ.get("LOAD", f"{TARGET}/release/examples/load")
TICK = os.sysconf("SC_CLK_TCK")
PORTS = {"streamgauge": 14190, "victoria-metrics": 14191, "prometheus": 14192}

QUERIES = [
    ("sum by (job) (rate)", "sum by (job) (rate(node_cpu_seconds_total[5m]))"),
    ("histogram_quantile", "histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))"),
    ("ratio of two gauges", "node_memory_MemFree_bytes / node_memory_MemTotal_bytes"),
    ("topk of sum by instance", "topk(5, sum by (instance) (rate(node_network_receive_bytes_total[5m])))"),
    ("one series", 'node_load1{instance="10.16.0.7:9100"}'),
    ("sum by (team) of a gauge", "sum by (team) (node_filesystem_avail_bytes)"),
    ("quantile_over_time", "quantile_over_time(0.9, node_load5[10m])"),
    ("max_over_time, regex", 'max_over_time(node_filesystem_files_free{mountpoint=~"/run.*|/var/.*"}[10m])'),
    ("count of node_.*", 'count({__name__=~"node_.*"})'),
    ("raw series of a metric", "node_network_transmit_bytes_total"),
]


# Of what Grafana asks beside queries: label, path, parameters.
CALLS = [
    ("names of metrics", "/api/v1/label/__name__/values", {}),
    ("values of a label", "/api/v1/label/instance/values", {}),
    ("values of a label of a metric", "/api/v1/label/instance/values", {"match[]": "node_cpu_seconds_total"}),
    ("names of labels", "/api/v1/labels", {}),
    ("series of a metric", "/api/v1/series", {"match[]": "node_cpu_seconds_total"}),
]


def cpu(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def memory(pid, key):
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith(key):
                return int(line.split()[1]) / 1024
    return 0.0


class Server:
    def __init__(self, name, work):
        self.name, self.port, self.work = name, PORTS[name], work
        self.begin()

    def begin(self):
        name, work = self.name, self.work
        data = os.path.join(work, name)
        address = f"127.0.0.1:{self.port}"
        empty = os.path.join(work, "empty.yml")
        open(empty, "w").close()
        command = {
            "streamgauge": [STREAMGAUGE, "serve", "--data-dir", data, "--listen", address],
            "victoria-metrics": ["victoria-metrics", f"-storageDataPath={data}", f"-httpListenAddr={address}",
                                 "-loggerLevel=WARN", "-search.latencyOffset=0s", "-retentionPeriod=10y"],
            "prometheus": ["prometheus", f"--config.file={empty}", f"--storage.tsdb.path={data}",
                           f"--web.listen-address={address}", "--web.enable-remote-write-receiver", "--log.level=warn"],
        }[name]
        self.log = open(os.path.join(work, f"{name}.log"), "a")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        ready = "/health" if name == "victoria-metrics" else "/-/ready"
        for _ in range(300):
            try:
                if self.get(ready)[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        sys.exit(f"{name} is not ready")

    def connect(self):
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def get(self, path, method="GET"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read()

    def ask(self, path):
        self.connection.request("GET", path)
        response = self.connection.getresponse()
        body = response.read()
        if response.status != 200:
            sys.exit(f"{self.name}: {response.status} {body[:300]}")
        return body

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.log.close()

    def begin_cold(self):
        """Begins anew, with nothing of its files in memory."""
        self.stop()
        os.sync()
        with open("/proc/sys/vm/drop_caches", "w") as drop:
            drop.write("3")
        self.begin()
        self.connect()
        self.ask("/api/v1/query?query=1")


def path(server, query, start, end, step):
    params = {"query": query, "start": start, "end": end, "step": step}
    if server.name != "prometheus":
        params["nocache"] = "1"
    return "/api/v1/query_range?" + urllib.parse.urlencode(params)


def call_path(where, params, start, end):
    return where + "?" + urllib.parse.urlencode({**params, "start": start, "end": end})


def series(body):
    result = json.loads(body)["data"]["result"]
    return {json.dumps(s["metric"], sort_keys=True): {float(t): float(v) for t, v in s["values"]} for s in result}


def differences(ours, truth):
    """Samples that are not in both, or differ by more than a millionth."""
    count = 0
    for key in set(ours) | set(truth):
        left, right = ours.get(key, {}), truth.get(key, {})
        for at in set(left) | set(right):
            a, b = left.get(at), right.get(at)
            same = a is not None and b is not None and (
                (math.isnan(a) and math.isnan(b)) or a == b or abs(a - b) <= 1e-9 * max(abs(a), abs(b)))
            count += not same
    return count


def measure(servers, queries, span, rounds, cold):
    """Wall times in ms and CPU seconds, by query and server."""
    walls = {label: {server.name: [] for server in servers} for label, _ in queries}
    cpus = {label: {server.name: 0.0 for server in servers} for label, _ in queries}
    for round in range(rounds):
        turned = servers[round % len(servers):] + servers[:round % len(servers)]
        for label, query in queries:
            for server in turned:
                ask = path(server, query, *span)
                if cold:
                    server.begin_cold()
                used, began = cpu(server.process.pid), time.perf_counter()
                server.ask(ask)
                walls[label][server.name].append((time.perf_counter() - began) * 1000)
                cpus[label][server.name] += cpu(server.process.pid) - used
    return walls, cpus


def table(what, wrong, walls, cpus):
    names = list(next(iter(walls.values())))
    rounds = len(next(iter(walls.values()))[names[0]])
    print(f"{what}; median of {rounds}, ms (CPU ms a query)")
    print("| query | " + " | ".join(names) + " | ratio to the faster peer | differs from Prometheus |")
    print("|---|" + "---|" * (len(names) + 2))
    totals = dict.fromkeys(names, 0.0)

    def ratio(of):
        peers = [of[name] for name in names if name != "streamgauge"]
        return f"{of['streamgauge'] / min(peers):.2f}" if peers and "streamgauge" in of else ""

    for label in walls:
        medians = {name: statistics.median(walls[label][name]) for name in names}
        for name in names:
            totals[name] += medians[name]
        cells = [f"{medians[name]:.2f} ({cpus[label][name] * 1000 / rounds:.1f})" for name in names]
        print(f"| {label} | " + " | ".join(cells) + f" | {ratio(medians)} | {wrong.get(label, '')} |")
    print("| **sum** | " + " | ".join(f"{totals[name]:.1f}" for name in names) + f" | {ratio(totals)} | |")


def calls(servers, rounds, span):
    print("| call | " + " | ".join(server.name for server in servers) + " | items |")
    print("|---|" + "---|" * (len(servers) + 1))
    for label, where, params in CALLS:
        walls = {server.name: [] for server in servers}
        counts = {}
        for round in range(rounds):
            for server in servers[round % len(servers):] + servers[:round % len(servers)]:
                began = time.perf_counter()
                body = server.ask(call_path(where, params, *span[:2]))
                walls[server.name].append((time.perf_counter() - began) * 1000)
                counts[server.name] = len(json.loads(body)["data"])
        cells = [f"{statistics.median(walls[server.name]):.2f}" for server in servers]
        print(f"| {label} | " + " | ".join(cells) + f" | {' '.join(map(str, counts.values()))} |")


def crowd(servers, count, span):
    """So many connections at once, each asking the ten queries in an order of its own; peak memory against that before."""
    for server in servers:
        pid = server.process.pid
        before = memory(pid, "VmRSS")
        with open(f"/proc/{pid}/clear_refs", "w") as clear:
            clear.write("5")

        def ask(nth):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
            for _, query in QUERIES[nth % len(QUERIES):] + QUERIES[:nth % len(QUERIES)]:
                connection.request("GET", path(server, query, *span))
                connection.getresponse().read()

        threads = [threading.Thread(target=ask, args=(nth,)) for nth in range(count)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(f"{server.name}: {count} at once: {time.perf_counter() - began:.1f} s, resident {before:.0f} MiB before, "
              f"peak {memory(pid, 'VmHWM'):.0f} MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=20_000)
    parser.add_argument("--hours", type=float, default=1)
    parser.add_argument("--interval", type=int, default=15)
    parser.add_argument("--step", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--stored", action="store_true", help="have all data in its lasting form before asking")
    parser.add_argument("--cold", type=int, default=0, help="rounds in which each server is begun anew before each query")
    parser.add_argument("--peers", default="streamgauge victoria-metrics prometheus")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of queries, from 1")
    parser.add_argument("--keep", action="store_true", help="leave servers running at the end")
    parser.add_argument("--crowd", type=int, default=0, help="then ask so many at once, and show peak memory")
    args = parser.parse_args()
    work = tempfile.mkdtemp()
    scrapes = int(args.hours * 3600 / args.interval)
    end = int(time.time()) // 60 * 60
    begin = end - int(args.hours * 3600)
    servers = [Server(name, work) for name in args.peers.split()]
    try:
        for server in servers:
            url = f"http://127.0.0.1:{server.port}/api/v1/write"
            subprocess.run([LOAD, "--url", url, "--series", str(args.series), "--scrapes", str(scrapes), "--interval-ms",
                            str(args.interval * 1000), "--requests", "--start-time", str(begin)],
                           check=True, stdout=subprocess.DEVNULL)
        for server in servers:
            if server.name == "streamgauge" and args.stored:
                server.get("/api/v1/admin/flush?wait=true", "POST")
                server.get("/api/v1/admin/compact?wait=true", "POST")
            if server.name == "victoria-metrics":
                server.get("/internal/force_flush")
                if args.stored:
                    server.get("/internal/force_merge")
        time.sleep(5)
        for server in servers:
            server.connect()
        # Times 7 s off the samples' grid do not matter here: samples are at random offsets of milliseconds.
        span = (begin + 600 if args.hours >= 1 else begin, end, args.step)
        queries = [q for at, q in enumerate(QUERIES, 1) if not args.only or at in args.only]
        wrong = {}
        for label, query in queries:
            answers = {server.name: series(server.ask(path(server, query, *span))) for server in servers}
            if "streamgauge" in answers and "prometheus" in answers:
                wrong[label] = differences(answers["streamgauge"], answers["prometheus"])
        what = f"{args.series} series, {args.hours:g} h at {args.interval} s, step {args.step} s, "
        what += "stored" if args.stored else "as loaded"
        table(what, wrong, *measure(servers, queries, span, args.rounds, False))
        calls(servers, args.rounds, span)
        if args.crowd:
            crowd(servers, args.crowd, span)
        if args.cold:
            table(what + ", cold", wrong, *measure(servers, queries, span, args.cold, True))
        for server in servers:
            print(f"{server.name}: resident {memory(server.process.pid, 'VmRSS'):.0f} MiB, "
                  f"peak {memory(server.process.pid, 'VmHWM'):.0f} MiB")
        if args.keep:
            print("servers stay:", {server.name: server.process.pid for server in servers}, work, "span", span)
            os._exit(0)
    finally:
        if not args.keep:
            for server in servers:
                server.stop()
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
