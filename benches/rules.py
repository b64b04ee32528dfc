#!/usr/bin/env python3
"""Alert rules beside Prometheus, very many alerts at once, and a storm through one channel.

    benches/rules.py evaluate     10,000 rules over 20,000 series, both servers at once: CPU seconds of evaluation
    benches/rules.py alerts       100,000 alerts of one rule in 100 groups: until their notifications are owed on disk, and told
    benches/rules.py channel      1,000 groups through one Slack channel at a message a second: until each was told, alone or by name

`evaluate` sends the same bodies of remote write to both servers every 15 s. CPU is user and system time of the process by the kernel's
accounting, for a span without rules and then for as long a span with them; evaluation is the difference. Each rule reads two series: a
third compares them to a number, a third takes their rate, a third sums them; one in a hundred fires. Before the end, the alerts of both are
compared. `alerts` counts from the end of the evaluation that finds them all to the last row `intent`, which is written before anything is
sent. `channel` posts three alerts of each group in one request, to us and then to Alertmanager; the channel answers 429 to a message that comes
less than a second after the one before, and a group is told when its name is in a message that was taken. Program: STREAMGAUGE by environment, or target/release. What is started is stopped by its process id.
"""

import argparse, http.client, http.server, json, os, re, shutil, signal, socket, struct, subprocess, sys, tempfile, threading, time

from promql import STREAMGAUGE, cpu, memory

PORTS = {"streamgauge": 14290, "prometheus": 14292, "alertmanager": 14294}
METRICS, PAIRS, EVERY = 40, 250, 15


# Remote write 1.0, by hand: one series is labels (1) and samples (2).


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, body):
    return bytes([number << 3 | 2]) + varint(len(body)) + body


def labels(pairs):
    return b"".join(field(1, field(1, name.encode()) + field(2, value.encode())) for name, value in sorted(pairs.items()))


def sample(value, at_ms):
    return field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + varint(at_ms))


def snappy(body):
    """Literals only: a valid stream that is not smaller."""
    return varint(len(body)) + bytes([62 << 2]) + struct.pack("<I", len(body) - 1)[:3] + body


class Server:
    def __init__(self, name, work, settings):
        self.name, self.port = name, PORTS[name]
        data, address = os.path.join(work, name), f"127.0.0.1:{self.port}"
        # Another one that listens there would be measured instead.
        socket.create_server(("127.0.0.1", self.port)).close()
        command = {
            "streamgauge": [STREAMGAUGE, "serve", "--data-dir", data, "--listen", address, "--config", settings],
            "prometheus": ["prometheus", f"--config.file={settings}", f"--storage.tsdb.path={data}",
                           f"--web.listen-address={address}", "--web.enable-remote-write-receiver", "--log.level=warn",
                           "--web.enable-lifecycle"],
            "alertmanager": ["prometheus-alertmanager", f"--config.file={settings}", f"--storage.path={data}",
                             f"--web.listen-address={address}", "--cluster.listen-address=", "--log.level=error"],
        }[name]
        self.log = open(os.path.join(work, f"{name}.log"), "a")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        for _ in range(300):
            try:
                if self.call("GET", "/-/ready")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        sys.exit(f"{name} is not ready: {self.log.name}")

    def call(self, method, path, body=None, headers={}):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()

    def write(self, body):
        head = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf",
                "X-Prometheus-Remote-Write-Version": "0.1.0"}
        status, answer = self.call("POST", "/api/v1/write", body, head)
        if status >= 300:
            sys.exit(f"{self.name}: {status} {answer[:300]}")

    def sql(self, text):
        status, answer = self.call("POST", "/api/v1/sql", text.encode())
        if status != 200:
            sys.exit(f"{self.name}: {status} {answer[:300]}")
        return json.loads(answer)["data"]["rows"][0]

    def json(self, path):
        return json.loads(self.call("GET", path)[1])["data"]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.log.close()


def bodies(series, value, at_ms):
    for begin in range(0, len(series), 2000):
        rows = (field(1, one + sample(value(begin + nth), at_ms)) for nth, one in enumerate(series[begin:begin + 2000]))
        yield snappy(b"".join(rows))


def rule(metric, pair):
    name, selector = f"m{metric}", f'm{metric}{{pair="{pair}"}}'
    fires = (metric * PAIRS + pair) % 100 == 0
    expr = [
        f"{selector} > {0 if fires else 1e15}",
        f"rate({selector}[5m]) > {-1 if fires else 1e12}",
        f"sum by (pair) ({selector}) > {0 if fires else 1e15}",
    ][(metric + pair) % 3]
    return (f"  - alert: {name}_{pair}\n    expr: '{expr}'\n    for: 30s\n    labels: {{severity: warning, team: t{pair % 7}}}\n"
            f"    annotations: {{summary: '{{{{ $labels.pair }}}} is at {{{{ $value | humanize }}}}'}}\n")


def evaluate(arguments, work):
    series = [labels({"__name__": f"m{m}", "pair": str(p), "instance": f"10.0.{p}.{i}:9100", "job": "node", "cluster": "eu-1"})
              for m in range(METRICS) for p in range(PAIRS) for i in range(2)]
    rules = os.path.join(work, "rules.yaml")
    open(rules, "w").write("groups: []\n")
    groups = [f"- name: g{p}\n  interval: 30s\n  rules:\n" + "".join(rule(m, p) for m in range(METRICS)) for p in range(PAIRS)]
    ours, theirs = os.path.join(work, "ours.yaml"), os.path.join(work, "theirs.yaml")
    open(ours, "w").write(f"alerting: {{rules: ['{rules}']}}\n")
    open(theirs, "w").write(f"rule_files: ['{rules}']\n")
    servers = [Server("streamgauge", work, ours), Server("prometheus", work, theirs)]
    try:
        used = {server.name: [] for server in servers}
        begun = time.time()
        tick = 0

        def feed(seconds):
            nonlocal tick
            before = {server.name: cpu(server.process.pid) for server in servers}
            until = time.time() + seconds
            while time.time() < until:
                for body in bodies(series, lambda nth: 1000.0 * nth + tick, int(time.time() * 1000)):
                    for server in servers:
                        server.write(body)
                tick += 1
                time.sleep(max(0, begun + tick * EVERY - time.time()))
            return {name: cpu(server.process.pid) - before[name] for server in servers for name in [server.name]}

        feed(60)
        plain = feed(arguments.seconds)
        open(rules, "w").write("groups:\n" + "".join(groups))
        for server in servers:
            status, answer = server.call("POST", "/-/reload", b"")
            if status >= 300:
                sys.exit(f"{server.name}: {status} {answer[:300]}")
        feed(60)
        loaded = feed(arguments.seconds)
        alerts = {}
        for server in servers:
            found = server.json("/api/v1/alerts")["alerts"]
            alerts[server.name] = sorted(json.dumps([a["labels"], a["state"]], sort_keys=True) for a in found)
            health = [r["health"] for g in server.json("/api/v1/rules")["groups"] for r in g["rules"]]
            print(f"{server.name}: {len(health)} rules, {health.count('ok')} ok, {len(found)} alerts")
        print("the same alerts" if alerts["streamgauge"] == alerts["prometheus"] else "ALERTS DIFFER")
        print(f"{'':12} {'without rules':>14} {'with rules':>11} {'evaluation':>11}   CPU s in {arguments.seconds} s; resident MiB")
        spent = {}
        for server in servers:
            name = server.name
            spent[name] = loaded[name] - plain[name]
            print(f"{name:12} {plain[name]:14.1f} {loaded[name]:11.1f} {spent[name]:11.1f}   {memory(server.process.pid, 'VmRSS'):.0f}")
        print(f"evaluation: {spent['streamgauge'] / spent['prometheus']:.2f} of Prometheus")
    finally:
        for server in servers:
            server.stop()


class Receiver(http.server.BaseHTTPRequestHandler):
    told = 0

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        Receiver.told += 1
        self.answer(200)

    def answer(self, status, *headers):
        self.send_response(status)
        for name, value in headers + (("Content-Length", "0"),):
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_):
        pass


class Many(http.server.ThreadingHTTPServer):
    request_queue_size = 1024


class Channel(Receiver):
    """As Slack: one message a second, and 429 to whoever sends more. A tenth earlier is forgiven, for clocks are read twice."""

    def do_POST(self):
        body, now, server = self.rfile.read(int(self.headers["Content-Length"])).decode(), time.time(), self.server
        with server.lock:
            if now < server.opens:
                server.refused += 1
                return self.answer(429, ("Retry-After", "1"))
            server.opens, server.told = now + 0.9, server.told + 1
            groups = set(re.findall("group-[0-9]+", body))
            server.summaries += len(groups) > 1
            for group in groups:
                server.groups.setdefault(group, now)
        self.answer(200)


def alerts(arguments, work):
    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    pad = "x" * 60
    series = [labels({"__name__": "big", "shard": str(n % 100), "nth": str(n), "cluster": pad, "datacenter": pad, "environment": pad})
              for n in range(arguments.alerts)]
    rules, manager, settings = (os.path.join(work, name) for name in ["rules.yaml", "alertmanager.yml", "ours.yaml"])
    open(rules, "w").write("groups:\n- name: g\n  interval: 10s\n  rules:\n  - alert: Big\n    expr: 'big > 0'\n    annotations: "
                           f"{{summary: '{{{{ $labels.shard }}}} {pad}', description: '{{{{ $value }}}} {pad} {pad} {pad}'}}\n")
    open(manager, "w").write("route: {receiver: r, group_by: [shard], group_wait: 0s, group_interval: 10s}\n"
                             f"receivers: [{{name: r, webhook_configs: [{{url: 'http://127.0.0.1:{receiver.server_port}/'}}]}}]\n")
    open(settings, "w").write(f"alerting: {{rules: ['{rules}'], config: '{manager}', allowed_networks: [127.0.0.0/8]}}\n"
                              "sql: {timeout: 5m}\n")
    server = Server("streamgauge", work, settings)
    try:
        pid = server.process.pid
        for body in bodies(series, lambda _: 0.0, int(time.time() * 1000)):
            server.write(body)
        time.sleep(12)
        open(f"/proc/{pid}/clear_refs", "w").write("5")
        idle, before = memory(pid, "VmRSS"), cpu(pid)
        written = time.time()
        for body in bodies(series, lambda _: 1.0, int(time.time() * 1000)):
            server.write(body)
        print(f"{arguments.alerts} samples that alert written in {time.time() - written:.1f} s")
        count = "SELECT count(DISTINCT group_key) AS groups, sum(cardinality(firing)) AS alerts, max(at) AS last "\
            "FROM notifications WHERE event = 'intent'"
        found = "SELECT count(*), min(at), max(at) FROM alerts WHERE state = 'firing'"
        for _ in range(600):
            time.sleep(0.2)
            if (server.sql(count)[1] or 0) >= arguments.alerts:
                break
        group = server.json("/api/v1/rules?exclude_alerts=true")["groups"][0]
        print(f"found: {server.sql(found)}; evaluation takes {group['evaluationTime']:.2f} s")
        print(f"owed on disk: {server.sql(count)}")
        for _ in range(600):
            if Receiver.told >= 100:
                break
            time.sleep(0.1)
        print(f"{Receiver.told} messages told; CPU {cpu(pid) - before:.1f} s; resident {idle:.0f} MiB idle, {memory(pid, 'VmHWM'):.0f} peak")
    finally:
        server.stop()


def channel(arguments, work):
    ours, theirs = os.path.join(work, "alertmanager.yml"), os.path.join(work, "theirs.yml")
    settings = os.path.join(work, "ours.yaml")
    open(settings, "w").write(f"alerting: {{config: '{ours}', allowed_networks: [127.0.0.0/8]}}\n")
    for name, file, rate, settings in [("streamgauge", ours, "rate: 1 per 1s, ", settings), ("alertmanager", theirs, "", theirs)]:
        if name == "alertmanager" and not shutil.which("prometheus-alertmanager"):
            print("SKIPPED alertmanager: apt-get install -y prometheus-alertmanager")
            continue
        slack = Many(("127.0.0.1", 0), Channel)
        slack.lock, slack.opens, slack.groups = threading.Lock(), 0, {}
        slack.told = slack.summaries = slack.refused = 0
        threading.Thread(target=slack.serve_forever, daemon=True).start()
        open(file, "w").write("route: {receiver: r, group_by: [alertname], group_wait: 1s, group_interval: 5m}\n"
                              f"receivers: [{{name: r, {rate}slack_configs: [{{channel: '#oncall', "
                              f"api_url: 'http://127.0.0.1:{slack.server_port}/'}}]}}]\n")
        server = Server(name, work, settings)
        try:
            posted = [{"labels": {"alertname": f"group-{n}", "instance": str(i)}} for n in range(arguments.groups) for i in range(3)]
            begun = time.time()
            status, answer = server.call("POST", "/api/v2/alerts", json.dumps(posted), {"Content-Type": "application/json"})
            if status != 200:
                sys.exit(f"{name}: {status} {answer[:300]}")
            while len(slack.groups) < arguments.groups and time.time() - begun < arguments.seconds:
                time.sleep(0.1)
            last = max(slack.groups.values(), default=begun) - begun
            print(f"{name}: {len(slack.groups)} of {arguments.groups} groups told, the last after {last:.1f} s; {slack.told} messages, "
                  f"{slack.summaries} of them summaries; {slack.refused} answered with 429")
        finally:
            server.stop()
            slack.shutdown()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["evaluate", "alerts", "channel"])
    parser.add_argument("--seconds", type=int, default=120, help="length of each span that is measured, or longest wait")
    parser.add_argument("--alerts", type=int, default=100_000)
    parser.add_argument("--groups", type=int, default=1_000)
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    arguments = parser.parse_args()
    work = tempfile.mkdtemp(prefix="rules.")
    try:
        {"evaluate": evaluate, "alerts": alerts, "channel": channel}[arguments.what](arguments, work)
    finally:
        if arguments.keep:
            print(work)
        else:
            shutil.rmtree(work)


if __name__ == "__main__":
    main()
