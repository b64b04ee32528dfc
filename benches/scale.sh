#!/usr/bin/env bash
# Measures how one server behaves when there is much of everything: series, history, files, commits.
#
#   benches/scale.sh memory      a million series at 15 s for 10 minutes: peak memory, cardinality  [10 minutes, 6 GiB]
#   benches/scale.sh restart     ready after kill -9 with ten million samples in the log         [1 minute]
#   benches/scale.sh history     300,000 series over 90 days: opening, label values              [10 minutes, 5 GiB]
#   benches/scale.sh month       50 M samples over 30 days: needle, SQL beside DuckDB            [5 minutes, 5 GiB]
#   benches/scale.sh commits     ten thousand commits: what one costs at the beginning and at the end   [5 minutes]
#
# Needs curl; `month` also `pip install deltalake duckdb`. Settings, by environment: PORT [14091]; STREAMGAUGE, LOAD: ready
# programs to use instead of building them; KEEP=1 leaves the data folder and says where it is; DATA: a folder kept so.
# Everything started is stopped by its process id. Prints `key=value` lines.
set -euo pipefail
cd "$(dirname "$0")/.."

PORT=${PORT:-14091}
URL=http://127.0.0.1:$PORT
TICKS_PER_S=$(getconf CLK_TCK)
WORK=$(mktemp -d)
FILLED=${DATA:-}
DATA=${DATA:-$WORK/data}
PID=

stop() {
    if [[ -n $PID ]] && kill "-${1:-TERM}" "$PID" 2>/dev/null; then
        wait "$PID" 2>/dev/null || true
    fi
    PID=
}
finish() {
    stop
    if [[ ${KEEP:-0} == 1 ]]; then echo "data=$DATA"; else rm -rf "$WORK"; fi
}
trap finish EXIT

die() {
    echo "scale.sh: $*" >&2
    exit 1
}

now_ms() {
    date +%s%3N
}

cpu_ms() {
    sed 's/.*) //' "/proc/$PID/stat" | awk -v hz="$TICKS_PER_S" '{ print ($12 + $13) * 1000 / hz }'
}

rss_mib() {
    awk -v key="$1" '$1 == key ":" { print int($2 / 1024) }' "/proc/$PID/status"
}

# Starts the server and prints how long it took to be ready, milliseconds.
start() {
    local began
    began=$(now_ms)
    "$STREAMGAUGE" serve --config "$WORK/config.yaml" >>"$WORK/server.log" 2>&1 &
    PID=$!
    until curl --fail --silent --output /dev/null "$URL/-/ready"; do
        kill -0 "$PID" 2>/dev/null || die "the server ended: $(tail -n 5 "$WORK/server.log")"
        sleep 0.01
    done
    READY_MS=$(($(now_ms) - began))
}

# Settings beside the folder and the address.
config() {
    printf 'data_dir: %s\nlisten: 127.0.0.1:%s\n%s\n' "$DATA" "$PORT" "${1:-}" >"$WORK/config.yaml"
}

load() {
    "$LOAD" --url "$URL/api/v1/write" "$@" >"$WORK/load" || die "load: $(tail -n 5 "$WORK/server.log")"
    grep -E '^(samples_per_s|p99_ms|wall_s)=' "$WORK/load" || true
}

post() {
    curl --fail --silent --show-error --request POST --output /dev/null "$URL$1"
}

sql() {
    curl --fail --silent --show-error "$URL/api/v1/sql?format=csv" --data "$1"
}

files() {
    curl --fail --silent "$URL/metrics" | awk '/^streamgauge_files/ { sum += $2 } END { print sum }'
}

# Wall time of a request, milliseconds: least and median of the runs after the first.
timed() {
    local name=$1 runs=$2
    shift 2
    for run in $(seq 0 "$runs"); do
        curl --fail --silent --show-error --output "$WORK/answer" --write-out '%{time_total}\n' "$@" >"$WORK/time"
        [[ $run == 0 ]] && echo "$name cold_ms=$(awk '{ print $1 * 1000 }' "$WORK/time")" && continue
        awk '{ print $1 * 1000 }' "$WORK/time"
    done >"$WORK/times"
    head -n 1 "$WORK/times"
    tail -n +2 "$WORK/times" | sort -n | awk -v name="$name" '{ t[NR] = $1 } END { print name, "min_ms=" t[1], "median_ms=" t[int((NR + 1) / 2)] }'
    echo "$name bytes=$(stat --format %s "$WORK/answer")"
}

memory() {
    config
    start
    load --series 1000000 --scrapes 40 --rate 66667
    post "/api/v1/admin/flush?wait=true"
    echo "peak_rss_mib=$(rss_mib VmHWM) rss_mib=$(rss_mib VmRSS) cpu_ms=$(cpu_ms) samples=$(sql 'SELECT count(*) FROM samples' | tail -n 1)"
    timed status_tsdb 15 "$URL/api/v1/status/tsdb"
    echo "rss_mib=$(rss_mib VmRSS)"
}

restart() {
    config $'storage: {flush_bytes: 4GiB, flush_age: 1h}\nmemory: 12GiB'
    start
    load --series 100000 --scrapes 100
    echo "log_mib=$(du --summarize --block-size=1M "$DATA/wal" | cut -f1) files=$(files)"
    stop KILL
    start
    echo "ready_ms=$READY_MS cpu_ms=$(cpu_ms) samples=$(sql 'SELECT count(*) FROM samples' | tail -n 1)"
}

history() {
    local day=$((24 * 3600)) now
    now=$(date +%s)
    config
    start
    if [[ -z $FILLED ]]; then
        load --series 300000 --scrapes 89 --interval-ms $((day * 1000))
        post "/api/v1/admin/flush?wait=true"
        echo "fresh files=$(files)"
    fi
    stop
    start
    echo "open ready_ms=$READY_MS cpu_ms=$(cpu_ms) files=$(files)"
    post "/api/v1/admin/compact?wait=true"
    stop
    start
    echo "open_compacted ready_ms=$READY_MS cpu_ms=$(cpu_ms) files=$(files)"
    timed values_instance_30d 15 "$URL/api/v1/label/instance/values?start=$((now - 30 * day))&end=$now"
    timed values_name_30d 15 "$URL/api/v1/label/__name__/values?start=$((now - 30 * day))&end=$now"
    timed names_30d 15 "$URL/api/v1/labels?start=$((now - 30 * day))&end=$now"
    timed values_matched_30d 15 "$URL/api/v1/label/instance/values?start=$((now - 30 * day))&end=$now&match\[\]=\{job=~%22n.%2B%22\}"
    echo "peak_rss_mib=$(rss_mib VmHWM)"
}

month() {
    local now=$(date +%s)
    config
    start
    if [[ -z $FILLED ]]; then
        load --series 20000 --scrapes 2500 --interval-ms 1036800
        post "/api/v1/admin/compact?wait=true"
    fi
    echo "files=$(files) rows=$(sql 'SELECT count(*) FROM samples' | tail -n 1)"
    local one
    one=$(sql "SELECT labels['instance'] FROM metrics WHERE metric = 'node_load1' AND timestamp > now() - INTERVAL '3 hours' LIMIT 1" |
        tail -n 1 | tr -d '\r')
    timed needle_30d 30 "$URL/api/v1/sql?format=arrow" --data \
        "SELECT timestamp, value FROM metrics WHERE metric = 'node_load1' AND labels['instance'] = '$one' AND timestamp > now() - INTERVAL '30 days'"
    python3 benches/duckdb_sql.py "$URL" "$DATA"
}

# A commit is a small write and a flush: what it costs must not grow with the commits and files before it.
commits() {
    config 'storage: {retention: {samples: 90d}}'
    start
    python3 benches/commits.py "$URL" "$PID" 10000
    echo "files=$(files) log_entries=$(find "$DATA/tables/default/samples/_delta_log" -name '*.json' | wc -l) peak_rss_mib=$(rss_mib VmHWM)"
}

case ${1:-} in
memory | restart | history | month | commits) ;;
*) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
if [[ -z ${STREAMGAUGE:-} || -z ${LOAD:-} ]]; then
    # As `cargo test` builds them, so that nothing is built twice.
    cargo test --release --workspace --locked --no-run >&2
    target=${CARGO_TARGET_DIR:-target}/release
    STREAMGAUGE=$target/streamgauge LOAD=$target/examples/load
fi
"$1"
