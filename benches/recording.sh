#!/usr/bin/env bash
# Records a real node_exporter, and the servers themselves, by a real Prometheus that sends everything to streamgauge and to
# VictoriaMetrics, and shows the bytes that each of the three keeps for a sample.
#
#   benches/recording.sh                 45 minutes at 15 s
#   MINUTES=5 EVERY=1 benches/recording.sh
#
# Needs apt-get install -y curl prometheus prometheus-node-exporter victoria-metrics. Settings, by environment: MINUTES [45],
# EVERY, seconds between scrapes [15], PORT, the first of four loopback ports [14095], STREAMGAUGE, a ready program to use
# instead of building it. Everything started is stopped by its process id.
#
# Shown, after flush and merge: for streamgauge its active files of samples and series, and what its log holds beside the 64 MiB
# that it sets aside for its next records; for VictoriaMetrics `data`
# and `indexdb`, after force_flush and force_merge; for Prometheus a snapshot, which writes its head as blocks, without its log.
set -euo pipefail
cd "$(dirname "$0")/.."

MINUTES=${MINUTES:-45}
EVERY=${EVERY:-15}
PORT=${PORT:-14095}
OURS=127.0.0.1:$PORT
VICTORIA=127.0.0.1:$((PORT + 1))
PROMETHEUS=127.0.0.1:$((PORT + 2))
NODE=127.0.0.1:$((PORT + 3))
WORK=$(mktemp -d)
PIDS=()

finish() {
    for pid in "${PIDS[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$WORK"
}
trap finish EXIT

die() {
    echo "recording.sh: $*" >&2
    exit 1
}

start() {
    local name=$1 ready=$2
    shift 2
    "$@" >"$WORK/$name.log" 2>&1 &
    PIDS+=($!)
    for _ in $(seq 300); do
        curl --fail --silent --output /dev/null "$ready" && return
        sleep 0.1
    done
    die "$name is not ready: $(tail -n 5 "$WORK/$name.log")"
}

bytes_of() {
    du --summarize --block-size=1 "$@" | awk '{ sum += $1 } END { print sum }'
}

get() {
    curl --fail --silent --show-error "$@"
}

for tool in curl awk prometheus prometheus-node-exporter victoria-metrics; do
    command -v "$tool" >/dev/null || die "needs $tool: apt-get install -y curl prometheus prometheus-node-exporter victoria-metrics"
done
target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/release
[[ -n ${STREAMGAUGE:-} ]] || cargo build --release --bin streamgauge
STREAMGAUGE=${STREAMGAUGE:-$target/streamgauge}

cat >"$WORK/prometheus.yml" <<YAML
global: { scrape_interval: ${EVERY}s }
scrape_configs:
  - { job_name: node, static_configs: [{ targets: ['$NODE'] }] }
  - { job_name: prometheus, static_configs: [{ targets: ['$PROMETHEUS'] }] }
  - { job_name: victoria-metrics, static_configs: [{ targets: ['$VICTORIA'] }] }
  - { job_name: streamgauge, static_configs: [{ targets: ['$OURS'] }] }
remote_write:
  - { url: 'http://$OURS/api/v1/write' }
  - { url: 'http://$VICTORIA/api/v1/write' }
YAML

start node "http://$NODE/metrics" prometheus-node-exporter --web.listen-address="$NODE"
start streamgauge "http://$OURS/-/ready" "$STREAMGAUGE" serve --data-dir "$WORK/streamgauge" --listen "$OURS"
start victoria-metrics "http://$VICTORIA/health" victoria-metrics -storageDataPath="$WORK/victoria" -httpListenAddr="$VICTORIA" \
    -loggerLevel=WARN -search.latencyOffset=0s
start prometheus "http://$PROMETHEUS/-/ready" prometheus --config.file="$WORK/prometheus.yml" --storage.tsdb.path="$WORK/prometheus" \
    --web.listen-address="$PROMETHEUS" --web.enable-admin-api --log.level=warn

for ((minute = 0; minute < MINUTES; minute++)); do
    sleep 60
    if [[ -t 2 ]]; then printf '\r%d of %d minutes' $((minute + 1)) "$MINUTES" >&2; fi
done

# From here on nothing is scraped, so that all three hold the same. What is under way arrives first.
sed -i 's/scrape_interval: .*s/scrape_interval: 1d/' "$WORK/prometheus.yml"
kill -HUP "${PIDS[3]}"
sleep 15
get --request POST --output /dev/null "http://$OURS/api/v1/admin/flush?wait=true"
get --request POST --output /dev/null "http://$OURS/api/v1/admin/compact?wait=true"
get --output /dev/null "http://$VICTORIA/internal/force_flush"
get --output /dev/null "http://$VICTORIA/internal/force_merge"
until get "http://$VICTORIA/metrics" | grep --quiet '^vm_active_force_merges 0'; do sleep 0.2; done
get --request POST --output /dev/null "http://$PROMETHEUS/api/v1/admin/tsdb/snapshot"
sync --file-system "$WORK"

samples=$(get "http://$OURS/api/v1/sql?format=csv" --data 'SELECT count(*) FROM samples' | tail -n 1 | tr -d '\r')
series=$(get "http://$OURS/api/v1/sql?format=csv" --data 'SELECT count(DISTINCT series_id) FROM series' | tail -n 1 | tr -d '\r')
files=$(get "http://$OURS/metrics" | awk '/^streamgauge_file_bytes/ { sum += $2 } END { print sum }')
# After a flush everything is in files: what is left is the segment that was set aside.
log=$(($(bytes_of "$WORK/streamgauge/wal") - (64 << 20)))
victoria=$(bytes_of "$WORK/victoria/data" "$WORK/victoria/indexdb")
blocks=$(bytes_of "$WORK/prometheus/snapshots")
echo "$(nproc) × $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(uname -sr), $(date --utc +%F);" \
    "$MINUTES minutes at $EVERY s, $samples samples of $series series"
awk -v n="$samples" -v files="$files" -v log_bytes="$log" -v folder="$(bytes_of "$WORK/streamgauge")" -v victoria="$victoria" -v blocks="$blocks" '
    BEGIN {
        printf "streamgauge: %.2f B/sample in files, %.2f with its log (%.2f in its folder)\n", files / n, (files + log_bytes) / n, folder / n
        printf "victoria-metrics: %.2f B/sample; prometheus: %.2f B/sample in blocks\n", victoria / n, blocks / n
        printf "against victoria-metrics: %.2f times the bytes; against prometheus: %.2f\n", (files + log_bytes) / victoria, (files + log_bytes) / blocks
    }'
