//! The demo's settings: files that a server reads as any other, in the demo's folder, so that a folder that is kept can be served again.
//!
//! Called before the server starts. Rules are the demo's own and those of `deploy/rules`, with budgets that fit what was spent. Nothing in
//! them leads outside: whoever is told listens on loopback.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::bills::Bills;

/// Files with rules: their names, and what they have.
const RULES: [(&str, &str); 4] = [
    ("demo.yaml", include_str!("rules.yaml")),
    ("billing.yaml", include_str!("../../deploy/rules/billing.yaml")),
    ("budgets.yaml", include_str!("../../deploy/rules/budgets.yaml")),
    ("slo.yaml", include_str!("../../deploy/rules/slo.yaml")),
];

/// Budgets as the shipped file has them, whose they are, and how much of each is to be spent, hundredths.
const BUDGETS: [(&str, &str, i64); 2] =
    [("('payments', 12000.00, 'USD')", "payments", 86), ("('platform', 30000.00, 'USD')", "platform", 104)];

/// Writes all settings, and gives the file to begin with.
///
/// # Errors
/// If the folder cannot be written.
pub(super) fn write(folder: &Path, bills: &Bills, told: SocketAddr) -> Result<PathBuf> {
    let write = |name: &str, text: String| -> Result<PathBuf> {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(path)
    };
    let rules = folder.join("rules");
    fs::create_dir(&rules).with_context(|| format!("{} cannot be made", rules.display()))?;
    for (name, text) in RULES {
        write(&format!("rules/{name}"), fitted(text, bills))?;
    }
    let alertmanager = write("alertmanager.yml", alertmanager(told))?;
    write("streamgauge.yaml", settings(folder, &alertmanager, &rules))
}

/// Rules with budgets of what was spent, which are looked at sooner.
fn fitted(rules: &str, bills: &Bills) -> String {
    let mut rules = rules.replace("interval: 15m", "interval: 30s");
    for (shipped, team, percent) in BUDGETS {
        let amount = rounded(bills.spent_cents(team) / percent);
        rules = rules.replace(shipped, &format!("('{team}', {amount}.00, 'USD')"));
    }
    rules
}

/// A number of three digits and noughts, as people choose budgets; at least 1.
fn rounded(number: i64) -> i64 {
    let mut unit = 1;
    while number / unit >= 1000 {
        unit *= 10;
    }
    ((number + unit / 2) / unit * unit).max(1)
}

fn alertmanager(told: SocketAddr) -> String {
    format!(
        "# Who is told of what: a receiver of the demo, which ends with it.\n\
         route:\n\
         \x20 receiver: history\n\
         \x20 group_by: [alertname]\n\
         \x20 group_wait: 1s\n\
         \x20 group_interval: 30s\n\
         \x20 repeat_interval: 12h\n\
         \x20 routes:\n\
         \x20   - matchers: ['severity=\"critical\"']\n\
         \x20     receiver: on-call\n\
         \x20   - matchers: ['severity=~\"high|warning\"']\n\
         \x20     receiver: team\n\
         receivers:\n\
         \x20 - name: history\n\
         \x20 - name: on-call\n\
         \x20   webhook_configs: [{{url: 'http://{told}/on-call', send_resolved: true}}]\n\
         \x20 - name: team\n\
         \x20   webhook_configs: [{{url: 'http://{told}/team', send_resolved: true}}]\n"
    )
}

fn settings(folder: &Path, alertmanager: &Path, rules: &Path) -> String {
    // As JSON, which YAML reads, whatever is in the path.
    let text = |path: PathBuf| serde_json::Value::from(path.display().to_string());
    format!(
        "data_dir: {}\n\
         # Small, so that the demo fits beside everything else.\n\
         memory: 1GiB\n\
         storage: {{wal_segment_bytes: 16MiB}}\n\
         alerting:\n\
         \x20 config: {}\n\
         \x20 rules: [{}]\n\
         \x20 allowed_networks: [127.0.0.0/8]\n\
         queries:\n\
         \x20 team_costs:\n\
         \x20   description: What a team's resources cost this month, by service.\n\
         \x20   sql: |\n\
         \x20     SELECT ServiceName, BillingCurrency, sum(EffectiveCost) AS cost FROM costs_daily\n\
         \x20     WHERE Team = $team AND x_BillingMonth = CAST(date_trunc('month', now()) AS DATE)\n\
         \x20     GROUP BY 1, 2 ORDER BY cost DESC\n\
         \x20   params: {{team: {{type: text, default: payments, description: Value of the tag Team.}}}}\n",
        text(folder.join("data")),
        text(alertmanager.to_owned()),
        text(rules.join("*.yaml")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Config, Overrides},
        demo::calendar::Calendar,
        glue::service,
    };

    #[test]
    fn settings_and_rules_are_right_and_budgets_near_what_was_spent() {
        let folder = tempfile::tempdir().unwrap();
        let bills = Bills::new(Calendar::new(1, 1_795_901_412_000, 2));
        let file = write(folder.path(), &bills, ([127, 0, 0, 1], 9).into()).unwrap();
        let config = Config::load(Some(&file), Overrides::default()).unwrap();
        assert_eq!(config.storage.data_dir, folder.path().join("data"));
        service::check(&config.alerting).unwrap();
        let budgets = fs::read_to_string(folder.path().join("rules/budgets.yaml")).unwrap();
        for (shipped, team, percent) in BUDGETS {
            assert!(RULES[2].1.contains(shipped), "{shipped}");
            assert!(!budgets.contains(shipped), "{shipped}");
            let amount = budgets.split(&format!("('{team}', ")).nth(1).and_then(|rest| rest.split('.').next()).unwrap();
            let hundredths = bills.spent_cents(team) / amount.parse::<i64>().unwrap();
            assert!((percent - 2..=percent + 2).contains(&hundredths), "{team}: {hundredths}");
        }
    }

    #[test]
    fn budgets_are_round() {
        for (number, round) in [(0, 1), (7, 7), (999, 999), (12_345, 12_300), (98_765, 98_800)] {
            assert_eq!(rounded(number), round);
        }
    }
}
