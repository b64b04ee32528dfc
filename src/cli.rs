//! The command line: what can be asked of the program, and how `--help` teaches it.
//!
//! Called by `main`; hands on to `app` and the commands' modules. Not here: exit codes, which are `main`'s.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing::error;

use crate::{
    app,
    auth::{self, Scope},
    backup, billing,
    config::{self, Config, Overrides},
    demo, focus, import, incident, promql, receivers, restore, rules, sql, telemetry, upkeep,
};

/// Metrics, costs and audit events in Delta Lake tables, asked with PromQL and SQL.
#[derive(Debug, Parser)]
#[command(name = "streamgauge", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  streamgauge serve                                     listen on 127.0.0.1:4090, keep data here
  streamgauge demo                                      the same with a month of made-up data, to look around
  streamgauge promql 'sum by (job) (up)' --range 6h     ask the server that runs here
  streamgauge sql 'SELECT count(*) FROM samples'        the same in SQL
  streamgauge import prometheus /var/lib/prometheus     bring in what a Prometheus has
  streamgauge backup --to /backup/streamgauge           copy all tables, beside the server
  streamgauge check --config streamgauge.yaml           is this file right, and what would run?
  streamgauge check focus focus-2026-10.csv.gz          does this bill follow FOCUS?

Send metrics from Prometheus:
  remote_write:
    - url: http://127.0.0.1:4090/api/v1/write

Exit codes: 0 done; 1 failed, the reason is on stderr; 2 the command line is wrong.";

const SERVE_EXAMPLES: &str = "\
Examples:
  streamgauge serve
  streamgauge serve --data-dir /var/lib/streamgauge --log-format json
  streamgauge serve --config /etc/streamgauge.yaml --listen 0.0.0.0:4090
  streamgauge serve --pg-listen off                     without the PostgreSQL protocol; with it: psql -h 127.0.0.1 -p 4032

Settings come from the embedded defaults, then the file, then these options. Secrets come from the environment where the
file says ${VARIABLE}. SIGTERM or SIGINT commits everything and exits within 30 s; a second one exits at once, and what was
acknowledged is read from the log at the next start.";

const CHECK_EXAMPLES: &str = "\
Examples:
  streamgauge check                                     what would run by default?
  streamgauge check --config /etc/streamgauge.yaml      errors come as file:line:column: reason
  streamgauge check focus focus-2026-10.csv.gz          does a bill follow FOCUS? see `check focus --help`

Reads the settings, the tokens file and the certificates; touches neither the data folder nor the network.";

const SQL_EXAMPLES: &str = "\
Examples:
  streamgauge sql 'SELECT metric, count(*) FROM samples GROUP BY metric ORDER BY 2 DESC LIMIT 10'
  streamgauge sql --format csv \"SELECT timestamp, value FROM metrics WHERE metric = 'up'\" > up.csv
  streamgauge sql --url https://gauge:4090 --ca ca.pem --token-env SG_TOKEN 'SELECT 1'
  streamgauge sql --data-dir ./streamgauge-data 'SELECT max(ts) FROM samples'
  streamgauge sql --data-dir /var/lib/streamgauge --config /etc/streamgauge.yaml 'SELECT max(ts) FROM samples'
  streamgauge sql \"SELECT * FROM promql('sum by (job) (up)', now() - interval '1 hour', now(), '5m', 'job')\"
  streamgauge sql - < question.sql
  streamgauge sql                                       at a terminal: a shell with history and completion; \\? says more

With --data-dir the folder is only read, whether or not a server runs on it. If its tables are in a bucket, --config names
the server's settings.";

const PROMQL_EXAMPLES: &str = "\
Examples:
  streamgauge promql 'topk(5, rate(http_requests_total[5m]))'
  streamgauge promql 'sum by (job) (rate(http_requests_total[5m]))' --range 6h
  streamgauge promql up --start 2026-01-31T00:00:00Z --end 2026-01-31T12:00:00Z --step 1m --format csv > up.csv
  streamgauge promql --url https://gauge:4090 --ca ca.pem --token-env SG_TOKEN up
  streamgauge promql --data-dir ./streamgauge-data 'up[5m]'
  streamgauge promql - < question.promql

At one moment, a line is a series and its value; over a range, a series with its last, lowest and highest value, and how it
went. With --data-dir the folder is only read, whether or not a server runs on it.";

const UPKEEP_EXAMPLES: &str = "\
Examples:
  streamgauge upkeep --once                                   ask the server of this machine
  streamgauge upkeep --once --url https://gauge:4090 --token-env SG_ADMIN
  streamgauge upkeep --once --data-dir /var/lib/streamgauge   without a server

Merges files into sorted runs, drops partitions past their retention, deletes files that nothing reads. A running server does
so by itself; by hand, what could wait for the end of a window or a day is done now.";

const TOKEN_EXAMPLES: &str = "\
Examples:
  streamgauge token --name prometheus --scope write
  streamgauge token --name grafana --scope read --expires 2027-12-31T00:00:00Z

The token is shown once; the server needs only its hash. Put the printed entry into the file that `auth.tokens_file` names:
a running server takes it within seconds. Clients send `Authorization: Bearer <token>`, or basic authentication with the
token's name as user and the token as password; so do psql and others that speak the PostgreSQL protocol or Flight SQL.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Serve),
    /// Run a server with a month of generated data, which goes on, in a folder of its own.
    #[command(after_help = demo::EXAMPLES)]
    Demo(demo::Demo),
    /// Validate the settings and say what would run; or validate bills.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(Check),
    /// Ask a question in SQL: a running server, or a data folder.
    #[command(after_help = SQL_EXAMPLES)]
    Sql(sql::Sql),
    /// Ask a question in PromQL: a running server, or a data folder.
    #[command(after_help = PROMQL_EXAMPLES)]
    Promql(promql::Promql),
    /// Bring in a history from elsewhere.
    Import(import::Import),
    /// Keep the books of bills that are loaded.
    Billing(billing::Billing),
    /// Run the unit tests of rules.
    #[command(subcommand)]
    Test(Tests),
    /// Say what rules would have done.
    #[command(subcommand)]
    Rules(OfRules),
    /// Ask about files in Alertmanager's grammar.
    #[command(subcommand)]
    Alertmanager(OfAlertmanager),
    /// Look back at an incident.
    #[command(subcommand)]
    Incident(OfIncident),
    /// Merge and clean up the tables now.
    #[command(after_help = UPKEEP_EXAMPLES)]
    Upkeep(upkeep::Upkeep),
    /// Copy all tables as they are now, beside the server or without one.
    #[command(after_help = backup::EXAMPLES)]
    Backup(backup::Backup),
    /// Make tables of a backup, or say whether it is whole.
    #[command(after_help = restore::EXAMPLES)]
    Restore(restore::Restore),
    /// Make an access token.
    #[command(after_help = TOKEN_EXAMPLES)]
    Token(Token),
}

#[derive(Debug, Args)]
struct Serve {
    /// Settings, YAML.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for the log and the tables [default: streamgauge-data].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address to listen on; port 0 takes a free one and logs it [default: 127.0.0.1:4090].
    #[arg(long, value_name = "ADDR", value_parser = config::address)]
    listen: Option<SocketAddr>,
    /// Address for the PostgreSQL protocol; `off` for none [default: 127.0.0.1:4032].
    #[arg(long, value_name = "ADDR", value_parser = config::listening)]
    pg_listen: Option<config::Listening>,
    /// Address for Arrow Flight SQL; `off` for none [default: 127.0.0.1:4033].
    #[arg(long, value_name = "ADDR", value_parser = config::listening)]
    flight_listen: Option<config::Listening>,
    /// Listen where other machines can connect although no tokens are configured.
    #[arg(long)]
    insecure: bool,
    /// How a log line looks [default: text].
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<telemetry::Format>,
    /// What is logged: error, warn, info, debug, trace, or by module `info,storage=debug` [default: info].
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
struct Check {
    /// What is checked, if not the settings.
    #[command(subcommand)]
    what: Option<Checked>,
    /// Settings, YAML.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What can be checked beside the settings.
#[derive(Debug, Subcommand)]
enum Checked {
    /// Say whether delivered bills follow FOCUS 1.0 to 1.4, and where they do not.
    #[command(after_help = focus::EXAMPLES)]
    Focus(focus::Focus),
    /// Say whether files with rules are right.
    #[command(after_help = rules::CHECK_EXAMPLES)]
    Rules(rules::CheckRules),
    /// Say whether files with routes and receivers are right.
    Alertmanager(rules::CheckAlertmanager),
}

/// What can be tested.
#[derive(Debug, Subcommand)]
enum Tests {
    /// Run files in the format of `promtool test rules`.
    #[command(after_help = rules::TEST_EXAMPLES)]
    Rules(rules::TestRules),
}

/// What can be asked about rules.
#[derive(Debug, Subcommand)]
enum OfRules {
    /// Evaluate files over what is stored; nothing is written.
    #[command(after_help = rules::replay::BACKTEST_EXAMPLES)]
    Backtest(rules::replay::Backtest),
    /// Evaluate rules in force over what is stored, and keep what would have become of alerts under a run.
    #[command(after_help = rules::replay::REPLAY_EXAMPLES)]
    Replay(rules::replay::Replay),
}

/// What can be asked about an incident.
#[derive(Debug, Subcommand)]
enum OfIncident {
    /// Say what happened and who was told, in order.
    #[command(after_help = incident::EXAMPLES)]
    Timeline(incident::Timeline),
}

/// What can be asked about routes and receivers.
#[derive(Debug, Subcommand)]
enum OfAlertmanager {
    /// Say which receivers an alert gets to.
    #[command(after_help = rules::ROUTES_EXAMPLES)]
    Routes(rules::Routes),
    /// Send a sample to the receivers that an alert gets to.
    #[command(after_help = receivers::EXAMPLES)]
    Test(receivers::Try),
}

#[derive(Debug, Args)]
struct Token {
    /// Name of the token: who uses it.
    #[arg(long, default_value = "client")]
    name: String,
    /// What it allows; may be given several times.
    #[arg(long = "scope", value_name = "SCOPE", default_values = ["read"])]
    scopes: Vec<Scope>,
    /// When it ends, RFC 3339.
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// Why it could not be done.
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Serve(serve) => serve.run(),
            Command::Demo(demo) => demo.run(),
            Command::Check(check) => check.run(),
            Command::Sql(sql) => sql.run(),
            Command::Promql(promql) => promql.run(),
            Command::Import(import) => import.run(),
            Command::Billing(billing) => billing.run(),
            Command::Test(Tests::Rules(rules)) => rules.run(),
            Command::Rules(OfRules::Backtest(rules)) => rules.run(),
            Command::Rules(OfRules::Replay(rules)) => rules.run(),
            Command::Alertmanager(OfAlertmanager::Routes(routes)) => routes.run(),
            Command::Alertmanager(OfAlertmanager::Test(sample)) => sample.run(),
            Command::Incident(OfIncident::Timeline(timeline)) => timeline.run(),
            Command::Upkeep(upkeep) => upkeep.run(),
            Command::Backup(backup) => backup.run(),
            Command::Restore(restore) => restore.run(),
            Command::Token(token) => token.run(),
        }
    }
}

impl Serve {
    fn run(self) -> Result<()> {
        let Self { config, data_dir, listen, pg_listen, flight_listen, insecure, log_format, log_level } = self;
        let overrides = Overrides { data_dir, listen, pg_listen, flight_listen, insecure, log_format, log_level };
        let config = Config::load(config.as_deref(), overrides)?;
        telemetry::start(&config.log)?;
        let runtime = runtime()?;
        let served = runtime.block_on(app::serve(config, async |_| std::future::pending().await));
        // A read that hangs must not hold up the exit: everything that matters has ended by now.
        runtime.shutdown_background();
        // In the log, where whoever reads it as JSON finds it, and nowhere else.
        served.map_err(|error| {
            error!(error = format!("{error:#}"), "stopped");
            telemetry::Logged.into()
        })
    }
}

impl Check {
    fn run(self) -> Result<()> {
        match self.what {
            Some(Checked::Focus(focus)) => return focus.run(),
            Some(Checked::Rules(rules)) => return rules.run(),
            Some(Checked::Alertmanager(files)) => return files.run(),
            None => {}
        }
        let config = Config::load(self.config.as_deref(), Overrides::default())?;
        let tokens = app::check(&config)?;
        runtime()?.block_on(app::check_queries(&config))?;
        let mut out = io::stdout().lock();
        match &self.config {
            Some(file) => writeln!(out, "{} is right. It would run:", file.display())?,
            None => writeln!(out, "Without a file the defaults hold. They would run:")?,
        }
        writeln!(out, "{config}")?;
        let now_us = app::env().clock.now_us();
        let rules = crate::glue::service::check(&config.alerting)?;
        writeln!(out, "rules          {rules}")?;
        for token in tokens {
            let scopes: Vec<_> = token.scopes.iter().map(|scope| scope.name()).collect();
            let expired = token.expires_us.is_some_and(|at| at <= now_us);
            let note = if expired { " (expired)" } else { "" };
            writeln!(out, "token          {}: {}{note}", token.name, scopes.join(", "))?;
        }
        Ok(())
    }
}

impl Token {
    fn run(self) -> Result<()> {
        let (token, hash, scram) = auth::new_token()?;
        let scopes: Vec<_> = self.scopes.iter().map(|scope| scope.name()).collect();
        let mut entry = format!("- name: {}\n  scopes: [{}]\n", self.name, scopes.join(", "));
        if let Some(expires) = &self.expires {
            entry.push_str(&format!("  expires: {expires}\n"));
        }
        entry.push_str(&format!("  sha256: {hash}\n  scram: {scram}\n"));
        // What is printed is what the server will read, so a bad name or time is refused here.
        auth::parse_file("token".as_ref(), &entry, &config::variable).context("no such token can be made")?;
        let mut out = io::stdout().lock();
        writeln!(out, "# The token. It is shown this once:\n{token}\n")?;
        writeln!(out, "# Its entry for the tokens file (`auth.tokens_file`):\n{entry}")?;
        Ok(())
    }
}

/// The async runtime of a command.
///
/// # Errors
/// If the system gives no threads.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the async runtime cannot be started")
}

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns, for people.
    Table,
    /// Comma-separated values with a header.
    Csv,
    /// One object with typed columns and rows.
    Json,
    /// One object a line.
    Ndjson,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn check_is_about_the_settings_unless_it_names_something_else() {
        for good in [
            &["check"][..],
            &["check", "--config", "a.yaml"],
            &["check", "focus", "a.csv", "b/"],
            &["check", "focus", "--version", "1.2", "--json", "a.csv"],
        ] {
            assert!(super::Cli::try_parse_from([&["streamgauge"], good].concat()).is_ok(), "{good:?}");
        }
        for bad in [
            &["check", "a.csv"][..],
            &["check", "focus"],
            &["check", "focus", "--version", "2", "a.csv"],
            &["check", "--config", "a.yaml", "focus", "a.csv"],
        ] {
            assert!(super::Cli::try_parse_from([&["streamgauge"], bad].concat()).is_err(), "{bad:?}");
        }
    }
}
