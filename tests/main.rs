//! Integration tests, in one binary: linking DataFusion is dear. Each module says what it proves.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that meets the unexpected fails")]

mod alerting;
mod alertmanager_peers;
mod alertmanagers;
mod auth;
mod backup;
mod billing;
mod billing_golden;
mod billing_server;
mod cli;
mod config;
mod cookbook;
mod crash;
mod dashboards;
mod delete_series;
mod delta_readers;
mod demo;
mod deploy;
mod disk;
mod docs;
mod focus;
mod grafana;
mod labels;
mod limits;
mod notifiers;
mod overload;
mod page;
mod pg;
mod prometheus_api;
mod promql_hostile;
mod promql_peers;
mod promql_upstream;
mod remote_read;
mod remote_write_peers;
mod replay;
mod retention;
mod ruler;
mod s3;
mod saved_queries;
mod scheduled_queries;
mod sql_functions;
mod support;
mod tidy;
mod tls;
mod upkeep;
