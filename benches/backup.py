#!/usr/bin/env python3
"""A backup and a restore of tables of a given size: wall and CPU seconds, largest memory, bytes a second.

    benches/backup.py [--gib 1] [--dir DIR]      a full backup, one with nothing new, a check, a restore with --verify, a start on it
    benches/backup.py --data DIR                 the same of a data folder that is there

Programs: STREAMGAUGE and LOAD by environment, or target/release. Needs three times the size on disk. Rows are sent by `load`, a quarter of an
hour of 100,000 series at a time, until the tables have the size: a GiB is some hundred million samples and takes minutes; --data takes what
is there. CPU seconds are user and system time by the kernel's accounting.
"""

import argparse
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from promql import LOAD, STREAMGAUGE

# Quarters of an hour that are sent at most: 20 days, all within the retention.
ROUNDS_MAX = 1920
SCRAPES, INTERVAL_S = 60, 15


def streamgauge(*args):
    return [STREAMGAUGE, *map(str, args)]


def timed(what, command, size):
    """Runs a command and prints what it took."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    if process.returncode:
        sys.exit(f"{command} ends with {process.returncode}: {out}")
    cpu, rss = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    print(f"{what:<22} {wall:8.1f} s {cpu:8.1f} CPU s {rss:7.0f} MiB {size / wall / 2**20:8.0f} MiB/s")
    return json.loads(out)


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*.parquet"))


class Server:
    """A server of its own over a data folder."""

    def __init__(self, data):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        address = self.url.removeprefix("http://")
        command = streamgauge("serve", "--data-dir", data, "--listen", address, "--pg-listen", "off", "--flight-listen", "off")
        self.log = open(data.with_suffix(".log"), "ab")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        for _ in range(6000):
            try:
                urllib.request.urlopen(self.url + "/-/ready", timeout=2)
                return
            except (urllib.error.URLError, OSError):
                if self.process.poll() is not None:
                    sys.exit(f"the server ends, see {data.with_suffix('.log')}")
                time.sleep(0.05)
        sys.exit("the server does not get ready")

    def post(self, path):
        urllib.request.urlopen(urllib.request.Request(self.url + path, method="POST"), timeout=3600).read()

    def count(self):
        request = urllib.request.Request(self.url + "/api/v1/sql?format=csv", data=b"SELECT count(*) FROM samples")
        return int(urllib.request.urlopen(request, timeout=3600).read().split()[1])

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


def fill(data, size):
    """Sends samples until the tables have a size."""
    server = Server(data)
    first = int(time.time()) - ROUNDS_MAX * SCRAPES * INTERVAL_S
    for done in range(ROUNDS_MAX):
        if size_of(data / "tables") >= size:
            break
        start = first + done * SCRAPES * INTERVAL_S
        subprocess.run([LOAD, "--url", server.url + "/api/v1/write", "--series", "100000", "--scrapes", str(SCRAPES),
                        "--start-time", str(start)], check=True, stdout=subprocess.DEVNULL)
        server.post("/api/v1/admin/flush?wait=true")
    server.post("/api/v1/admin/compact?wait=true")
    server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=1)
    parser.add_argument("--dir", type=pathlib.Path, default=pathlib.Path("backup-bench"))
    parser.add_argument("--data", type=pathlib.Path)
    args = parser.parse_args()
    args.dir.mkdir(parents=True, exist_ok=True)
    data, kept, again = args.data or args.dir / "data", args.dir / "kept", args.dir / "again"
    if args.data is None and size_of(data) < args.gib * 2**30:
        fill(data, args.gib * 2**30)
    for folder in (kept, again):
        shutil.rmtree(folder, ignore_errors=True)
    # A place for backups is not made by them.
    kept.mkdir()
    backup = streamgauge("backup", "--data-dir", data, "--to", kept)
    size = size_of(data / "tables")
    taken = timed("full backup", backup, size)
    size = taken["bytes"]
    print(f"{taken['rows']} rows, {size / 2**30:.2f} GiB, {taken['files_copied']} files")
    nothing = timed("backup, nothing new", backup, size)
    assert nothing["files_copied"] == 0, nothing
    timed("check of the backup", streamgauge("restore", "--from", kept, "--verify"), size)
    began = time.perf_counter()
    restored = timed("restore --verify", streamgauge("restore", "--from", kept, "--to", again, "--verify"), size)
    server = Server(again)
    ready = time.perf_counter() - began
    rows = next(table["rows"] for table in restored["tables"] if table["dataset"] == "samples")
    assert server.count() == rows, (server.count(), rows)
    server.stop()
    print(f"from an empty disk to a server that answers: {ready:.1f} s, {ready / (size / 2**30) * 10:.0f} s for 10 GiB")


if __name__ == "__main__":
    main()
