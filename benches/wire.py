#!/usr/bin/env python3
"""The protocols of SQL beside PostgreSQL itself: a million rows to psql and over Flight SQL, and the time of a new connection.

    benches/wire.py rows          1,000,000 rows × 5 columns to psql, as a query and as a copy, and over Flight SQL to ADBC: rows per CPU second
    benches/wire.py connect       connect, SELECT 1, disconnect: without TLS and a password, and with both

The rows are samples that came in by remote write; PostgreSQL has a table of what our server gives for the same query, in memory by then. CPU is
user and system time of the server by the kernel's accounting: of PostgreSQL that of its first process and of the children it has seen end. Rounds
alternate, and the first of each is not counted. PostgreSQL has no Flight SQL: that is beside its answer to psql. Needs psql, PostgreSQL's server
(apt-get install postgresql-15) and, for Flight SQL, adbc-driver-flightsql and pyarrow; for `connect`, psycopg and openssl. Program: STREAMGAUGE by environment, or target/release. What is started is stopped by its process id.
"""

import argparse, glob, os, shutil, socket, statistics, struct, subprocess, sys, tempfile, time

from promql import STREAMGAUGE
from rules import Server, bodies, labels

PORT, PG_PORT, THEIR_PORT, FLIGHT_PORT = 14300, 14301, 14302, 14303
QUERY = "SELECT ts, metric, series_id, value, CAST(value AS DECIMAL(18, 3)) AS amount FROM samples WHERE metric = 'wire'"
HERTZ = os.sysconf("SC_CLK_TCK")


def cpu(pid):
    """User and system time of a process and of the children that it has seen end, seconds."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return sum(int(field) for field in fields[11:15]) / HERTZ


def psql(port, *args, user="bench", database="streamgauge"):
    command = ["psql", "-X", "-q", "-h", "127.0.0.1", "-p", str(port), "-U", user, "-d", database, "-v", "ON_ERROR_STOP=1", *args]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PGPASSWORD": "none"})
    if done.returncode != 0:
        sys.exit(f"psql at {port}: {done.stderr[:500]}")
    return done.stdout


def flight():
    """Rows and seconds of the query over Flight SQL, batch by batch as psql reads them."""
    import adbc_driver_flightsql.dbapi

    begun = time.time()
    with adbc_driver_flightsql.dbapi.connect(f"grpc://127.0.0.1:{FLIGHT_PORT}", autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(QUERY)
        count = sum(batch.num_rows for batch in cursor.fetch_record_batch())
    assert count == 1_000_000, count
    return time.time() - begun


def has_flight():
    try:
        import adbc_driver_flightsql.dbapi, pyarrow  # noqa: F401
    except ModuleNotFoundError as missing:
        print(f"SKIPPED: {missing.name} is missing: pip install adbc-driver-flightsql adbc-driver-manager pyarrow")
        return False
    return True


class Postgres:
    """PostgreSQL's own server, over a folder of its own."""

    def __init__(self, work):
        programs = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        if not programs:
            sys.exit("SKIPPED: PostgreSQL's server is missing: apt-get install -y postgresql-15")
        self.bin, self.data = programs[-1], os.path.join(work, "postgres")
        os.makedirs(self.data)
        # It refuses to run as root.
        self.as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self.as_user:
            os.chmod(work, 0o755)
            shutil.chown(self.data, "postgres", "postgres")
        self.run("initdb", "-D", self.data, "-U", "bench", "-A", "trust", "-E", "UTF8", "--locale=C")
        settings = f"-c port={THEIR_PORT} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.data} -c shared_buffers=512MB"
        self.run("pg_ctl", "-D", self.data, "-w", "-l", os.path.join(self.data, "log"), "-o", settings, "start")
        self.pid = int(open(os.path.join(self.data, "postmaster.pid")).readline())
        psql(THEIR_PORT, "-c", "CREATE DATABASE streamgauge", database="postgres")

    def run(self, program, *args):
        done = subprocess.run([*self.as_user, os.path.join(self.bin, program), *args], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if done.returncode != 0:
            sys.exit(f"{program}: {done.stderr.decode()[:500]}")

    def stop(self):
        self.run("pg_ctl", "-D", self.data, "-m", "fast", "stop")


def ours(work, settings=""):
    path = os.path.join(work, "streamgauge.yaml")
    open(path, "w").write(f"pg: {{listen: '127.0.0.1:{PG_PORT}'}}\nflight: {{listen: '127.0.0.1:{FLIGHT_PORT}'}}\nsql: {{rows_max: 2000000}}\n{settings}")
    return Server("streamgauge", work, path)


def rows(arguments, work):
    server, peer = ours(work), Postgres(work)
    try:
        series = [labels({"__name__": "wire", "instance": f"10.0.{n // 250}.{n % 250}:9100", "job": "node"}) for n in range(10_000)]
        now_ms = int(time.time() * 1000)
        for scrape in range(100):
            for body in bodies(series, lambda nth: nth * 0.125 + scrape * 17.5, now_ms - (100 - scrape) * 15_000):
                server.write(body)
        file = os.path.join(work, "rows.csv")
        psql(PG_PORT, "-c", f"\\copy ({QUERY}) TO '{file}' CSV")
        os.chmod(file, 0o644)
        psql(THEIR_PORT, "-c", "CREATE TABLE samples (ts timestamptz, metric text, series_id bigint, value float8, amount numeric(18, 3))",
             "-c", f"\\copy samples FROM '{file}' CSV", "-c", "VACUUM ANALYZE samples")
        count = [psql(port, "-At", "-c", "SELECT count(*), sum(value) FROM samples WHERE metric = 'wire'").strip() for port in (PG_PORT, THEIR_PORT)]
        print(f"rows and their sum: {count[0]} and {count[1]}")
        servers = {"streamgauge": (PG_PORT, server.process.pid), "postgresql": (THEIR_PORT, peer.pid)}
        theirs = {}
        ways = {"query": ["-c", QUERY, "-o", "/dev/null"], "copy": ["-c", f"\\copy ({QUERY}) TO '/dev/null'"]}
        for way, asked in ways.items():
            spent = {name: [] for name in servers}
            for nth in range(arguments.rounds + 1):
                for name, (port, pid) in sorted(servers.items(), reverse=nth % 2 == 1):
                    before, begun = cpu(pid), time.time()
                    psql(port, *asked)
                    wall = time.time() - begun
                    # Its backend ends a moment after its client.
                    time.sleep(0.3)
                    spent[name].append((cpu(pid) - before, wall))
            for name, all_rounds in spent.items():
                used, wall = (statistics.median(column) for column in zip(*all_rounds[1:]))
                print(f"{way:6} {name:12} {used:6.2f} CPU s {wall:6.2f} s  {1_000_000 / used:12,.0f} rows per CPU s")
            used = {name: statistics.median(one for one, _ in rounds[1:]) for name, rounds in spent.items()}
            print(f"{way:6} rows per CPU s beside PostgreSQL: {used['postgresql'] / used['streamgauge']:.2f}")
            theirs.setdefault(way, used["postgresql"])
        if has_flight():
            spent = []
            for _ in range(arguments.rounds + 1):
                before = cpu(server.process.pid)
                wall = flight()
                time.sleep(0.3)
                spent.append((cpu(server.process.pid) - before, wall))
            used, wall = (statistics.median(column) for column in zip(*spent[1:]))
            print(f"flight streamgauge  {used:6.2f} CPU s {wall:6.2f} s  {1_000_000 / used:12,.0f} rows per CPU s")
            print(f"flight rows per CPU s beside PostgreSQL's query: {theirs['query'] / used:.2f}")
    finally:
        server.stop()
        peer.stop()


def frame(kind, body):
    return kind + struct.pack(">I", len(body) + 4) + body


def until_ready(stream):
    """Reads messages to the one that says what may follow; their kinds."""
    kinds = b""
    while True:
        kind, length = struct.unpack(">cI", stream.read(5))
        body = stream.read(length - 4)
        kinds += kind
        if kind == b"E":
            sys.exit(body)
        if kind == b"Z":
            return kinds


def plain(port):
    begun = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = connection.makefile("rb")
        words = b"user\0bench\0database\0streamgauge\0\0"
        connection.sendall(struct.pack(">II", len(words) + 8, 196_608) + words)
        until_ready(stream)
        connection.sendall(frame(b"Q", b"SELECT 1\0"))
        assert b"D" in until_ready(stream)
        connection.sendall(frame(b"X", b""))
    return time.perf_counter() - begun


def show(name, seconds):
    ordered = sorted(seconds)
    print(f"{name:34} median {ordered[len(ordered) // 2] * 1e3:6.2f} ms, p99 {ordered[len(ordered) * 99 // 100] * 1e3:6.2f} ms")


def connect(arguments, work):
    import psycopg

    server, peer = ours(work), Postgres(work)
    try:
        for name, port in [("streamgauge", PG_PORT), ("postgresql", THEIR_PORT)]:
            [plain(port) for _ in range(20)]
            show(f"{name}, plain", [plain(port) for _ in range(arguments.connections)])
    finally:
        server.stop()
        peer.stop()
    key, cert, tokens = (os.path.join(work, name) for name in ["key.pem", "cert.pem", "tokens.yaml"])
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert,
                    "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    made = subprocess.run([STREAMGAUGE, "token", "--name", "bench", "--scope", "read"], check=True, capture_output=True, text=True)
    secret = next(word for word in made.stdout.split() if word.startswith("sg_"))
    open(tokens, "w").write(made.stdout[made.stdout.index("- name"):])
    settings = f"tls: {{cert: {cert}, key: {key}}}\nauth: {{tokens_file: {tokens}}}\n"
    path = os.path.join(work, "secure.yaml")
    open(path, "w").write(f"pg: {{listen: '127.0.0.1:{PG_PORT}'}}\nflight: {{listen: 'off'}}\ndata_dir: {work}/secure\nlisten: 127.0.0.1:{PORT}\n{settings}")
    log = open(os.path.join(work, "secure.log"), "w+")
    process = subprocess.Popen([STREAMGAUGE, "serve", "--config", path], stdout=log, stderr=log)
    try:
        where = f"host=127.0.0.1 port={PG_PORT} user=bench password={secret} dbname=streamgauge sslmode=verify-ca sslrootcert={cert}"

        def secure():
            begun = time.perf_counter()
            with psycopg.connect(where, autocommit=True) as connection:
                connection.execute("SELECT 1").fetchone()
            return time.perf_counter() - begun

        for _ in range(100):
            try:
                secure()
                break
            except psycopg.OperationalError:
                time.sleep(0.1)
                if process.poll() is not None:
                    sys.exit(open(log.name).read()[-500:])
        [secure() for _ in range(20)]
        show("streamgauge, TLS and SCRAM-SHA-256", [secure() for _ in range(arguments.connections)])
    finally:
        process.terminate()
        process.wait(60)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["rows", "connect"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=300)
    arguments = parser.parse_args()
    work = tempfile.mkdtemp(prefix="wire.")
    try:
        {"rows": rows, "connect": connect}[arguments.what](arguments, work)
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
