"""Many small commits, one after another: how long each takes, and what it costs, in tenths of the run.

Run by `scale.sh commits`: `commits.py URL PID N`. Each commit is a remote write of one series (encoded here, by hand, for it is twenty
bytes) and a flush that waits. Prints the median of both together and the server's CPU time per commit, for each tenth.
"""

import http.client
import os
import statistics
import struct
import sys
import time


def field(number, body):
    return bytes([number << 3 | 2]) + varint(len(body)) + body


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def request(at_ms, value):
    label = field(1, field(1, b"__name__") + field(2, b"commits_total"))
    sample = field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + varint(at_ms))
    raw = field(1, label + sample)
    # Snappy without compression: the length, then one literal of up to 60 bytes.
    assert len(raw) <= 60
    return varint(len(raw)) + bytes([(len(raw) - 1) << 2]) + raw


def cpu_s(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(url, pid, commits):
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    headers = {
        "Content-Type": "application/x-protobuf",
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }

    def post(path, body=b"", headers={}):
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status in (200, 204), (answer.status, text)

    base_ms, tenth = int(time.time() * 1000) - commits - 1000, commits // 10
    for part in range(10):
        times, began = [], cpu_s(pid)
        for n in range(tenth):
            start = time.perf_counter()
            post("/api/v1/write", request(base_ms + part * tenth + n, float(n)), headers)
            post("/api/v1/admin/flush?wait=true")
            times.append(time.perf_counter() - start)
        cpu_ms = (cpu_s(pid) - began) * 1000 / tenth
        print(f"commits={(part + 1) * tenth} median_ms={statistics.median(times) * 1000:.2f} cpu_ms={cpu_ms:.2f}", flush=True)


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
