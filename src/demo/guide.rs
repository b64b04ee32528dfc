//! What the demo prints when everything is there: where to look, what happened, what to try.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use super::calendar::Calendar;
use crate::{
    app::Reached,
    times::{DAY_MS, show, show_seconds},
};

/// So long before and after the incident is looked at, milliseconds.
const AROUND_MS: i64 = 3_600_000;

/// What is known before.
pub(super) struct Guide {
    /// The demo's folder.
    pub(super) folder: PathBuf,
    /// Does it stay?
    pub(super) is_kept: bool,
    /// When the command began, milliseconds.
    pub(super) begun_ms: i64,
}

/// What the server has.
pub(super) struct Sent {
    /// Samples of the history.
    pub(super) samples: u64,
    /// Of so many series.
    pub(super) series: usize,
    /// Lines of bills.
    pub(super) lines: u64,
}

impl Guide {
    /// The text, of a time.
    pub(super) fn text(&self, reached: &Reached, calendar: &Calendar, (sent, now_ms): (&Sent, i64)) -> String {
        let mut text = self.summary(calendar, sent, now_ms);
        // Writing to a string cannot fail.
        let _ = write!(text, "{}\n{}\n{}", places(reached), story(calendar), self.trials(reached, calendar));
        text + &self.end()
    }

    fn summary(&self, calendar: &Calendar, sent: &Sent, now_ms: i64) -> String {
        let days = (calendar.history_ms.end - calendar.history_ms.start) / DAY_MS;
        let Sent { samples, series, lines } = sent;
        let millions = format!("{}.{}", samples / 1_000_000, samples / 100_000 % 10);
        let took = show_seconds(crate::times::length(&(self.begun_ms..now_ms)) / 1000.0);
        format!(
            "ready in {took}: {days} days of {series} series ({millions} M samples), {lines} lines of bills; live from now on\n\n"
        )
    }

    fn trials(&self, Reached { url, .. }: &Reached, calendar: &Calendar) -> String {
        let incident = &calendar.incident_ms;
        let [from, to] = [incident.start - AROUND_MS, incident.end + AROUND_MS].map(show);
        let rules = shown(&self.folder.join("rules/demo.yaml"));
        format!(
            r#"Try
  streamgauge promql --url {url} --start {from} --end {to} --step 5m \
    'sum by (job) (rate(http_requests_total{{code=~"5.."}}[5m]))'
  streamgauge sql --url {url} \
    "SELECT Team, BillingCurrency, sum(EffectiveCost) AS cost FROM costs_daily
     WHERE x_BillingMonth = CAST(date_trunc('month', now()) AS DATE) GROUP BY 1, 2 ORDER BY 3 DESC"
  streamgauge sql --url {url} \
    "SELECT scope, sum(NewBilledCost - OldBilledCost) AS restated FROM costs_changes WHERE revision > 1 GROUP BY 1"
  streamgauge rules backtest {rules} --url {url} --from {from} --to {to} --each
  streamgauge incident timeline --url {url} --from {} --to {}
  curl '{url}/api/v1/sql/team_costs?team=payments&format=csv'
"#,
            show(self.begun_ms),
            show(self.begun_ms + AROUND_MS),
        )
    }

    fn end(&self) -> String {
        let folder = shown(&self.folder);
        let kept = if self.is_kept {
            format!("stays; `streamgauge serve --config {folder}/streamgauge.yaml` goes on with it")
        } else {
            "is deleted then (--keep keeps it)".to_owned()
        };
        format!("\nCtrl-C ends it. Everything is in {folder}, which {kept}.\nWhat receivers are told:")
    }
}

fn places(Reached { url, pg }: &Reached) -> String {
    let mut text = format!(
        "Open\n  {url}/                    the server's own page\n  \
         Grafana: docs/grafana.md, with the dashboards of dashboards/ and a data source of type Prometheus at {url}\n"
    );
    if let Some(pg) = pg {
        let _ = writeln!(
            text,
            "  psql -h {} -p {} streamgauge    SQL; a data source of type PostgreSQL as well",
            pg.ip(),
            pg.port()
        );
    }
    text
}

fn story(calendar: &Calendar) -> String {
    format!(
        "What happened\n  \
         {} to {}: checkout-api failed one request in ten. Its latency, the shop's orders,\n    \
         the bill of that day (team payments, machines) and the alert CheckoutErrors tell of it.\n  \
         Now: a disk of db-2 is almost full. legacy-1 is down, and silenced. Team payments is near its budget, platform beyond it.\n  \
         AWS and Azure restated the last month. Google delivers anew every hour.\n",
        show(calendar.incident_ms.start),
        show(calendar.incident_ms.end),
    )
}

/// A path as a shell takes it.
fn shown(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    if is_plain { path } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_names_where_to_look_and_what_becomes_of_the_folder() {
        let calendar = Calendar::new(1, 1_795_901_412_000, 30);
        let reached = Reached { url: "http://127.0.0.1:4090".into(), pg: Some(([127, 0, 0, 1], 4032).into()) };
        let sent = Sent { samples: 13_737_600, series: 318, lines: 226_412 };
        let text = |is_kept| {
            let guide = Guide { folder: "/tmp/a demo".into(), is_kept, begun_ms: 1_795_901_412_000 };
            guide.text(&reached, &calendar, (&sent, 1_795_901_426_000))
        };
        let deleted = text(false);
        for said in [
            "ready in 14 s: 30 days of 318 series (13.7 M samples), 226412 lines of bills",
            "http://127.0.0.1:4090/ ",
            "psql -h 127.0.0.1 -p 4032 streamgauge",
            "2026-11-25T14:20:00Z to 2026-11-25T15:45:00Z",
            r#"{code=~"5.."}"#,
            "'/tmp/a demo/rules/demo.yaml'",
            "is deleted then",
        ] {
            assert!(deleted.contains(said), "{said}: {deleted}");
        }
        assert!(text(true).contains("serve --config '/tmp/a demo'/streamgauge.yaml"));
    }
}
