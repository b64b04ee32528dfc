#!/usr/bin/env bash
# Runs the load generator against streamgauge, VictoriaMetrics and Prometheus in turn on this machine and prints a table.
#
#   benches/peers.sh                     all three, 3 rounds
#   ROUNDS=1 PEERS="streamgauge prometheus" benches/peers.sh --series 2000
#
# Arguments go to the load generator (see `--help` there). Settings, by environment:
#   PEERS        which servers           [streamgauge victoria-metrics prometheus]
#   ROUNDS       how often each is run   [3]; the order turns by one every round, medians are shown
#   UNTIL        what is awaited after the load, within the measured time [durable]: `durable`, in files and queryable, or
#                `merged`, in the form kept for long: our two-hour runs, VictoriaMetrics' force_merge; Prometheus stays as it is
#   SETTLE       seconds every server is left alone after its flush, within the measured time [10]
#   PORT         loopback port           [14090]
#   STREAMGAUGE, LOAD   ready programs to use instead of building them
#
# Measured per server, on an empty data folder in $TMPDIR each time: user and system seconds of the server process by the
# kernel's accounting from before the first request until after flush and settling; latency and wall time as the generator
# sees them; peak resident memory; bytes on disk. A run in which the server does not count exactly the samples that were
# accepted stops the script. Everything started is stopped by its process id.
set -euo pipefail
cd "$(dirname "$0")/.."

PEERS=${PEERS:-streamgauge victoria-metrics prometheus}
ROUNDS=${ROUNDS:-3}
SETTLE=${SETTLE:-10}
UNTIL=${UNTIL:-durable}
PORT=${PORT:-14090}
URL=http://127.0.0.1:$PORT
TICKS_PER_S=$(getconf CLK_TCK)
WORK=$(mktemp -d)
PID=

stop() {
    if [[ -n $PID ]] && kill -TERM "$PID" 2>/dev/null; then
        wait "$PID" || true
    fi
    PID=
}
trap 'stop; rm -rf "$WORK"' EXIT

die() {
    echo "peers.sh: $*" >&2
    exit 1
}

# A value of the generator's `key=value` lines.
field() {
    sed -n "s/^$2=//p" "$1"
}

cpu_ticks() {
    sed 's/.*) //' "/proc/$PID/stat" | awk '{ print $12 + $13 }'
}

bytes_of() {
    du --summarize --block-size=1 "$@" | awk '{ sum += $1 } END { print sum }'
}

# All samples of the last day, by PromQL: a sum over metrics, since only within a metric label sets are distinct.
promql_count() {
    local names query
    names=$(curl --fail --silent --show-error "$URL/api/v1/label/__name__/values" |
        sed 's/.*"data":\[//; s/\].*//' | tr -d '"' | tr ',' '\n')
    query=$(sed 's/.*/sum(count_over_time(&[1d]))/' <<<"$names" | paste --serial --delimiters=+)
    curl --fail --silent --show-error "$URL/api/v1/query" --data-urlencode "query=$query" |
        sed -n 's/.*"value":\[[^,]*,"\([^"]*\)"\].*/\1/p'
}

start() {
    local data=$2
    : >"$WORK/empty.yml"
    # A subshell in the background, so that `exec` makes its process id the server's.
    case $1 in
    streamgauge)
        exec "$STREAMGAUGE" serve --data-dir "$data" --listen "127.0.0.1:$PORT" ;;
    victoria-metrics)
        # The offset only hides the last 30 s from queries, which would look like loss when samples are counted.
        exec victoria-metrics -storageDataPath="$data" -httpListenAddr="127.0.0.1:$PORT" -loggerLevel=WARN \
            -search.latencyOffset=0s ;;
    prometheus)
        exec prometheus --config.file="$WORK/empty.yml" --storage.tsdb.path="$data" --web.listen-address="127.0.0.1:$PORT" \
            --web.enable-remote-write-receiver --web.enable-admin-api --log.level=warn ;;
    esac >"$WORK/server.log" 2>&1 &
    PID=$!
    local path=/-/ready
    [[ $1 == victoria-metrics ]] && path=/health
    for _ in $(seq 300); do
        kill -0 "$PID" 2>/dev/null || die "$1 ended: $(tail -n 5 "$WORK/server.log")"
        curl --fail --silent --output /dev/null "$URL$path" && return
        sleep 0.1
    done
    die "$1 is not ready after 30 s: $(tail -n 5 "$WORK/server.log")"
}

flush() {
    case $1 in
    streamgauge) curl --fail --silent --show-error --request POST --output /dev/null "$URL/api/v1/admin/flush?wait=true" ;;
    victoria-metrics) curl --fail --silent --show-error --output /dev/null "$URL/internal/force_flush" ;;
    prometheus) ;; # has nothing of the kind: samples stay in its head and its log for two hours
    esac
}

# Has the server merge what it would merge in its own time, and waits for it.
merge() {
    case $1 in
    streamgauge) curl --fail --silent --show-error --request POST --output /dev/null "$URL/api/v1/admin/compact?wait=true" ;;
    victoria-metrics)
        curl --fail --silent --show-error --output /dev/null "$URL/internal/force_merge"
        until curl --fail --silent "$URL/metrics" | grep --quiet '^vm_active_force_merges 0'; do sleep 0.2; done ;;
    prometheus) ;; # merges blocks, of which it has none yet
    esac
}

count() {
    case $1 in
    streamgauge)
        curl --fail --silent --show-error "$URL/api/v1/sql?format=csv" --data 'SELECT count(*) FROM samples' | tail -n 1 | tr -d '\r' ;;
    *) promql_count ;;
    esac
}

# Bytes that samples and index take in the server's lasting form, its log left out. Prometheus makes that form two hours
# late, so it is asked for a snapshot of the head, after everything else has been measured.
settled_bytes() {
    case $1 in
    # Files that a merge replaced are there for an hour more, as a query of another process may read them.
    streamgauge) curl --fail --silent "$URL/metrics" | awk '/^streamgauge_file_bytes/ { sum += $2 } END { print sum }' ;;
    victoria-metrics) bytes_of "$2/data" "$2/indexdb" ;;
    prometheus)
        curl --fail --silent --show-error --request POST --output /dev/null "$URL/api/v1/admin/tsdb/snapshot"
        bytes_of "$2/snapshots" ;;
    esac
}

# One server, one run: appends a line to $WORK/results.
run() {
    local peer=$1 round=$2 data=$WORK/data
    shift 2
    mkdir "$data"
    start "$peer" "$data"
    local before after load=$WORK/load
    before=$(cpu_ticks)
    "$LOAD" --url "$URL/api/v1/write" "$@" >"$load" || die "load generator failed against $peer: $(tail -n 5 "$WORK/server.log")"
    flush "$peer"
    [[ $UNTIL == durable ]] || merge "$peer"
    sleep "$SETTLE"
    after=$(cpu_ticks)
    local rss_kib disk accepted counted settled
    rss_kib=$(awk '/^VmHWM/ { print $2 }' "/proc/$PID/status")
    sync --file-system "$data" # delayed allocation would hide bytes from du
    disk=$(bytes_of "$data")
    accepted=$(field "$load" accepted_samples)
    counted=$(count "$peer")
    [[ $counted == "$accepted" ]] || die "$peer accepted $accepted samples and counts '$counted'"
    settled=$(settled_bytes "$peer" "$data")
    stop
    rm -rf "$data"
    echo "$peer $accepted $((after - before)) $(field "$load" wall_s) $(field "$load" p50_ms) $(field "$load" p99_ms)" \
        "$rss_kib $disk $settled $(field "$load" send_cpu_s)" | tee -a "$WORK/results" |
        awk -v round="$round" '{ printf "round %s %s: %d samples, %d ticks, %.1f s\n", round, $1, $2, $3, $4 }' >&2
}

# Medians per server as a Markdown table, then how the first server compares with each other one.
report() {
    awk -v hz="$TICKS_PER_S" -v order="$PEERS" '
        function median(peer, column,    values, n, i, j, swap) {
            n = runs[peer]
            for (i = 1; i <= n; i++) values[i] = cell[peer, i, column]
            for (i = 2; i <= n; i++)
                for (j = i; j > 1 && values[j - 1] > values[j]; j--) {
                    swap = values[j]; values[j] = values[j - 1]; values[j - 1] = swap
                }
            return n % 2 ? values[(n + 1) / 2] : (values[n / 2] + values[n / 2 + 1]) / 2
        }
        { n = ++runs[$1]; for (i = 2; i <= NF; i++) cell[$1, n, i] = $i + 0 }
        END {
            count = split(order, peers, " ")
            print "| server | samples | CPU s | samples per CPU-s | wall s | p50 ms | p99 ms | peak RSS MiB | data folder MiB | settled B/sample |"
            print "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
            for (k = 1; k <= count; k++) {
                p = peers[k]; samples = median(p, 2); cpu = median(p, 3) / hz
                rate[p] = samples / (cpu > 0 ? cpu : 1 / hz); rss[p] = median(p, 7); size[p] = median(p, 9) / samples
                printf "| %s | %d | %.2f | %d | %.1f | %.2f | %.2f | %.0f | %.1f | %.2f |\n", p, samples, cpu, rate[p],
                    median(p, 4), median(p, 5), median(p, 6), rss[p] / 1024, median(p, 8) / 1048576, size[p]
            }
            print ""
            for (k = 2; k <= count; k++)
                printf "%s against %s: %.2f times the samples per CPU-second, %.2f times the memory, %.2f times the settled bytes.\n",
                    peers[1], peers[k], rate[peers[1]] / rate[peers[k]], rss[peers[1]] / rss[peers[k]], size[peers[1]] / size[peers[k]]
        }' "$WORK/results"
}

for tool in curl awk $PEERS; do
    [[ $tool == streamgauge ]] || command -v "$tool" >/dev/null ||
        die "needs $tool: apt-get install -y curl prometheus victoria-metrics"
done
if (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; then
    die "port $PORT is taken: set PORT"
fi

target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/release
[[ -n ${LOAD:-} ]] || cargo build --release --example load
[[ -n ${STREAMGAUGE:-} || $PEERS != *streamgauge* ]] || cargo build --release --bin streamgauge
LOAD=${LOAD:-$target/examples/load}
STREAMGAUGE=${STREAMGAUGE:-$target/streamgauge}

read -ra peers <<<"$PEERS"
for ((round = 1; round <= ROUNDS; round++)); do
    for ((turn = 0; turn < ${#peers[@]}; turn++)); do
        run "${peers[(turn + round - 1) % ${#peers[@]}]}" "$round" "$@"
    done
done
echo "$(nproc) × $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(uname -sr), $(date --utc +%F);" \
    "until $UNTIL; medians of $ROUNDS rounds; generator arguments: ${*:-none}; generator CPU $(field "$WORK/load" send_cpu_s) s"
echo
report
