//! The `demo` command: a server with a month of believable data, and something that goes on.
//!
//! Called by the command line. Makes a folder with settings (`settings`), starts the server of `serve` over it and a receiver of what it tells
//! (`receiver`); beside them `play` sends what `fleet` and `bills` make of a `calendar`, and prints where to look (`guide`). Invariants:
//! everything goes the way of real data, over HTTP; nothing leaves the machine; the same seed and time make the same data; the folder
//! is gone afterwards, unless it was to be kept.

mod bills;
mod calendar;
mod fleet;
mod guide;
mod play;
mod receiver;
mod scrape;
mod settings;

use std::{
    fs::{self, DirBuilder},
    net::SocketAddr,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use clap::Args;

use self::{bills::Bills, calendar::Calendar, guide::Guide, play::Play};
use crate::{
    app, cli,
    config::{self, Config, Overrides},
    telemetry,
};

pub(crate) const EXAMPLES: &str = "\
Examples:
  streamgauge demo                                      a month of data, in a folder that is deleted afterwards
  streamgauge demo --days 7                             sooner there
  streamgauge demo --listen 127.0.0.1:0 --pg-listen off --flight-listen off
                                                        beside another server
  streamgauge demo --data-dir ./demo                    stays, for `streamgauge serve --config ./demo/streamgauge.yaml`

A small company: nodes, containers, three services and a shop, a sample a minute; the bills of AWS, Azure and Google Cloud,
the last month restated; budgets near their ends; and an incident three days ago, which shows in metrics, costs and alerts.
It is sent as real data is: by remote write, as bills, by Alertmanager's API. Rules are those of deploy/rules and a few more;
who is told listens on this machine, and nothing leaves it. When everything is there, what to open and to try is printed,
and values go on every 15 s. The dashboards of dashboards/ find what they ask for.";

/// Options of `streamgauge demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Days of metrics; bills by resource go back three times as long, sums a year.
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(i64).range(2..=80))]
    days: i64,
    /// What chance follows from: the same number and time, the same data.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", value_parser = config::address)]
    listen: Option<SocketAddr>,
    /// Address for the PostgreSQL protocol; `off` for none.
    #[arg(long, value_name = "ADDR", value_parser = config::listening)]
    pg_listen: Option<config::Listening>,
    /// Address for Arrow Flight SQL; `off` for none.
    #[arg(long, value_name = "ADDR", value_parser = config::listening)]
    flight_listen: Option<config::Listening>,
    /// Folder for everything, which stays; it is made, or is empty [default: one in the system's folder for such, deleted at the end].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Do not delete the folder at the end.
    #[arg(long)]
    keep: bool,
    /// What is logged: error, warn, info, debug, trace.
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    log_level: String,
}

/// The demo's folder, which goes with this value unless it is kept.
struct Folder {
    path: PathBuf,
    is_kept: bool,
}

impl Demo {
    /// Runs until a signal ends it.
    ///
    /// # Errors
    /// Why it cannot begin or go on.
    pub fn run(self) -> Result<()> {
        let Self { days, seed, listen, pg_listen, flight_listen, data_dir, keep, log_level } = self;
        let clock = app::env().clock;
        let begun_ms = clock.now_us().div_euclid(1000);
        let calendar = Calendar::new(seed, begun_ms, days);
        let bills = Bills::new(calendar.clone());
        let runtime = cli::runtime()?;
        let (told, lines) = runtime.block_on(receiver::listen())?;
        let folder = match data_dir {
            Some(path) => Folder::at(path)?,
            None => Folder::temporary(begun_ms, keep)?,
        };
        let settings = settings::write(&folder.path, &bills, told)?;
        let overrides =
            Overrides { listen, pg_listen, flight_listen, log_level: Some(log_level), ..Overrides::default() };
        let config = Config::load(Some(&settings), overrides)?;
        telemetry::start(&config.log)?;
        let guide = Guide { folder: folder.path.clone(), is_kept: folder.is_kept, begun_ms };
        let served = runtime.block_on(app::serve(config, async move |reached| {
            let play = Play { reached, calendar, bills, lines, guide, clock };
            tokio::task::spawn_blocking(move || play.run()).await.context("the demo broke off")?
        }));
        runtime.shutdown_background();
        drop(folder);
        served
    }
}

impl Folder {
    /// A folder that somebody named.
    ///
    /// # Errors
    /// If it cannot be made, or something is in it.
    fn at(path: PathBuf) -> Result<Self> {
        let unusable = || format!("{} cannot be used", path.display());
        fs::create_dir_all(&path).with_context(unusable)?;
        ensure!(
            fs::read_dir(&path).with_context(unusable)?.next().is_none(),
            "{0} is not empty, and a demo begins with nothing: name another folder; if it is a demo's, \
             `streamgauge serve --config {0}/streamgauge.yaml` goes on with it",
            path.display()
        );
        // What is in the settings has to be found from wherever they are read.
        let path = path.canonicalize().with_context(unusable)?;
        Ok(Self { path, is_kept: true })
    }

    /// A folder of its own where the system has such, for its owner alone.
    ///
    /// # Errors
    /// If it cannot be made.
    fn temporary(begun_ms: i64, is_kept: bool) -> Result<Self> {
        let name = format!("streamgauge-demo-{begun_ms}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("{} cannot be made: name a folder with --data-dir", path.display()))?;
        Ok(Self { path, is_kept })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A server that was ended at once may still write a file; then once more.
        let gone = |path: &Path| fs::remove_dir_all(path).is_ok() || !path.exists();
        if !self.is_kept && !(0..3).any(|_| gone(&self.path)) {
            eprintln!("{} could not be deleted: delete it by hand", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_unless_it_was_named_or_is_to_be_kept() {
        let outer = tempfile::tempdir().unwrap();
        let named = outer.path().join("demo");
        drop(Folder::at(named.clone()).unwrap());
        assert!(named.exists());
        fs::write(named.join("streamgauge.yaml"), "").unwrap();
        let refused = Folder::at(named).err().unwrap().to_string();
        assert!(refused.contains("is not empty") && refused.contains("serve --config"), "{refused}");
        let temporary = Folder::temporary(1, false).unwrap();
        let path = temporary.path.clone();
        fs::write(path.join("a"), "a").unwrap();
        drop(temporary);
        assert!(!path.exists());
    }
}
