//! What `/metrics` says of the log, the writers and upkeep; registered when storage opens.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::{Env, Error, ErrorKind, Latency, Result, upkeep, wal, writer};

pub(super) fn register(registry: &Registry, env: &Env) -> Result<(wal::Metrics, writer::Metrics, upkeep::Metrics)> {
    let build = || -> Result<_, prometheus::Error> {
        let latency = |name: &str, help: &str| Latency::register(registry, env.clock.clone(), name, help);
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let by_dataset = |name: &str, help: &str| -> Result<IntCounterVec, prometheus::Error> {
            let counter = IntCounterVec::new(Opts::new(name, help), &["dataset"])?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let head_bytes = IntGauge::new("streamgauge_head_bytes", "Bytes of rows that are not in files yet.")?;
        registry.register(Box::new(head_bytes.clone()))?;
        let files = IntGaugeVec::new(Opts::new("streamgauge_files", "Active Parquet files."), &["dataset"])?;
        registry.register(Box::new(files.clone()))?;
        let bytes = Opts::new("streamgauge_file_bytes", "Bytes of active Parquet files.");
        let file_bytes = IntGaugeVec::new(bytes, &["dataset"])?;
        registry.register(Box::new(file_bytes.clone()))?;
        let refusing = IntGauge::new(
            "streamgauge_wal_refusing",
            "1 while appends are refused because no log segment can be made, on a full disk for example.",
        )?;
        registry.register(Box::new(refusing.clone()))?;
        let wal = wal::Metrics {
            refusing,
            sync_seconds: latency("streamgauge_wal_sync_seconds", "Time to write and sync a group of log records.")?,
            bytes_total: counter("streamgauge_wal_bytes_total", "Bytes written to the log.")?,
            records_total: counter("streamgauge_wal_records_total", "Appends written to the log.")?,
            syncs_total: counter("streamgauge_wal_syncs_total", "Syncs of the log; appends share them.")?,
        };
        let writer = writer::Metrics {
            commit_seconds: latency("streamgauge_commit_seconds", "Time to sort, encode, put and commit head rows.")?,
            commits_total: by_dataset("streamgauge_commits_total", "Delta commits of head rows.")?,
            committed_rows_total: by_dataset("streamgauge_committed_rows_total", "Rows committed to files.")?,
            head_bytes,
            files,
            file_bytes,
        };
        let pending = Opts::new("streamgauge_upkeep_pending_files", "Files that upkeep is going to rewrite or drop.");
        let pending_files = IntGaugeVec::new(pending, &["dataset"])?;
        registry.register(Box::new(pending_files.clone()))?;
        let upkeep = upkeep::Metrics {
            merge_seconds: latency(
                "streamgauge_upkeep_merge_seconds",
                "Time to merge files and to commit the result.",
            )?,
            merges_total: by_dataset("streamgauge_upkeep_merges_total", "Commits of merged files.")?,
            rewritten_bytes_total: by_dataset("streamgauge_upkeep_rewritten_bytes_total", "Bytes of merged files.")?,
            dropped_partitions_total: by_dataset(
                "streamgauge_upkeep_dropped_partitions_total",
                "Partitions dropped at the end of their retention.",
            )?,
            trimmed_rows_total: by_dataset(
                "streamgauge_upkeep_trimmed_rows_total",
                "Rows left out of merged files by rules of retention.",
            )?,
            deleted_files_total: by_dataset("streamgauge_upkeep_deleted_files_total", "Files deleted from the store.")?,
            pending_files,
            failures_total: counter("streamgauge_upkeep_failures_total", "Runs of upkeep that failed.")?,
        };
        Ok((wal, writer, upkeep))
    };
    build().map_err(|error| Error::new(ErrorKind::Internal, "metrics cannot be registered").caused_by(error))
}
