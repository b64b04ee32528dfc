//! The demo's bills: three clouds, FOCUS as they deliver it, a line for each resource and day; what they owe follows from the calendar.
//!
//! Called to make one delivery at a time, and to say what teams have spent, before anything is loaded. Older months have fewer, larger lines. On
//! the day of the incident, checkout's machines are many more. The last month was restated: first came estimates without a credit. Invariants:
//! amounts are counted in ten-thousandths and never rounded twice; the same month is delivered the same way again, but for today, which grows.
//! Not here: what it is all loaded with (`play`).

use std::{
    fmt::{self, Write as _},
    io::Write as _,
};

use anyhow::{Context, Result};
use chrono::{Datelike as _, Days, Months, NaiveDate};
use flate2::{Compression, write::GzEncoder};

use super::calendar::{Calendar, chance, key, mixed};
use crate::times::{DAY_MS, length};

/// Months before the one that goes on.
const MONTHS: u32 = 12;
/// Bills are by resource for so many times the days of the history, and on from the beginning of that month.
const DETAILED: i64 = 3;
/// A line of an older month stands for so many resources.
const SUMMED: usize = 30;
/// Days at the end of a month that are estimates when it is delivered first.
const ESTIMATED: u32 = 8;
/// Columns of each line; what is the same for all lines of a resource comes last.
const HEADER: &str = "BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,BilledCost,EffectiveCost,ListCost,ContractedCost,\
                      BillingCurrency,BillingAccountId,ProviderName,InvoiceIssuerName,RegionId,SubAccountId,ServiceName,ServiceCategory,\
                      ChargeCategory,PricingCategory,ResourceId,CommitmentDiscountId,CommitmentDiscountName,CommitmentDiscountCategory,\
                      CommitmentDiscountType,CommitmentDiscountStatus,Tags\n";

/// What a cloud is like.
struct Provider {
    export: &'static str,
    name: &'static str,
    currency: &'static str,
    billing_account: &'static str,
    /// Of production, of everything else, and of data.
    accounts: [&'static str; 3],
    region: &'static str,
    resources: usize,
    /// Name, category, and what a resource costs a day, USD; the first is what machines are.
    services: [(&'static str, &'static str, f64); 5],
    /// A commitment that some machines are under.
    plan: Option<&'static str>,
    /// Was the last month restated?
    is_restated: bool,
}

static PROVIDERS: [Provider; 3] = [
    Provider {
        export: "aws-main",
        name: "AWS",
        currency: "USD",
        billing_account: "400000000001",
        accounts: ["410000000001", "410000000002", "410000000003"],
        region: "eu-central-1",
        resources: 1300,
        services: [
            ("Amazon EC2", "Compute", 2.6),
            ("Amazon RDS", "Databases", 4.1),
            ("Amazon S3", "Storage", 0.7),
            ("Amazon CloudFront", "Networking", 0.9),
            ("AWS Lambda", "Compute", 0.3),
        ],
        plan: Some("sp-7c1,compute-2026,Spend,Savings Plan"),
        is_restated: true,
    },
    Provider {
        export: "azure-ea",
        name: "Microsoft",
        currency: "EUR",
        billing_account: "5500001",
        accounts: ["5510001", "5510002", "5510003"],
        region: "westeurope",
        resources: 620,
        services: [
            ("Virtual Machines", "Compute", 2.2),
            ("Azure SQL Database", "Databases", 3.4),
            ("Storage Accounts", "Storage", 0.6),
            ("Bandwidth", "Networking", 0.4),
            ("Azure Functions", "Compute", 0.2),
        ],
        plan: None,
        is_restated: true,
    },
    Provider {
        export: "gcp",
        name: "Google Cloud",
        currency: "USD",
        billing_account: "01A2B3-C4D5E6-F70819",
        accounts: ["shop-production", "shop-staging", "shop-data"],
        region: "europe-west3",
        resources: 480,
        services: [
            ("Compute Engine", "Compute", 2.0),
            ("BigQuery", "Analytics", 5.2),
            ("Cloud Storage", "Storage", 0.5),
            ("Networking", "Networking", 0.6),
            ("Cloud Run", "Compute", 0.4),
        ],
        plan: None,
        is_restated: false,
    },
];

/// Team, project, cost center, owner, application, and how many of a hundred resources are of it.
type Project = (&'static str, &'static str, &'static str, &'static str, &'static str, u64);

const PROJECTS: [Project; 6] = [
    ("payments", "checkout", "CC-100", "ann", "checkout-api", 16),
    ("payments", "ledger", "CC-100", "ann", "ledger", 10),
    ("platform", "cluster", "CC-200", "bob", "kubernetes", 24),
    ("platform", "ci", "CC-200", "bob", "build", 10),
    ("data", "warehouse", "CC-300", "cleo", "warehouse", 18),
    ("search", "catalog", "CC-400", "dan", "catalog-api", 14),
];

/// The export that delivers while the demo runs.
pub(super) const LIVE: &str = "gcp";

/// Ten-thousandths of a unit of currency.
#[derive(Debug, Clone, Copy)]
struct Amount(i64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(amount) = *self;
        let sign = if amount < 0 { "-" } else { "" };
        write!(f, "{sign}{}.{:04}", amount.unsigned_abs() / 10_000, amount.unsigned_abs() % 10_000)
    }
}

impl Amount {
    #[expect(clippy::cast_possible_truncation, reason = "bills are far below a million millions")]
    fn of(units: f64) -> Self {
        Self((units * 10_000.0).round() as i64)
    }

    /// A multiple, in hundredths.
    fn percent(self, percent: i64) -> Self {
        Self(self.0 * percent / 100)
    }
}

/// What is billed by the day.
struct Resource {
    /// Its columns from the currency on.
    columns: String,
    key: u64,
    units_a_day: f64,
    team: Option<&'static str>,
    is_committed: bool,
    /// Are there more of it in the incident?
    is_checkout: bool,
}

/// What a delivery says of a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// What was known at its end.
    First,
    /// What is so.
    Whole,
}

/// A file of a bill.
pub(super) struct Delivery {
    /// The export it is of.
    pub(super) export: &'static str,
    /// The month it replaces.
    pub(super) part: String,
    /// CSV, compressed with gzip.
    pub(super) file: Vec<u8>,
}

/// All bills.
pub(super) struct Bills {
    calendar: Calendar,
    clouds: Vec<(&'static Provider, Vec<Resource>)>,
}

impl Bills {
    /// What there is to be billed.
    pub(super) fn new(calendar: Calendar) -> Self {
        let resources = |provider: &'static Provider| {
            let key = key(calendar.seed, provider.export);
            let resources = (0..provider.resources).map(|number| resource(provider, mixed(key ^ number as u64)));
            (provider, resources.collect())
        };
        Self { clouds: PROVIDERS.iter().map(resources).collect(), calendar }
    }

    /// The month of a time.
    pub(super) fn month(ms: i64) -> NaiveDate {
        first_of(super::calendar::date(ms))
    }

    /// Names of the exports.
    pub(super) fn exports(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.clouds.iter().map(|(provider, _)| provider.export)
    }

    /// Months that are delivered, oldest first, and what is said of them: of one that was restated twice.
    pub(super) fn months(&self) -> impl Iterator<Item = (NaiveDate, &'static [Stage])> + '_ {
        (0..=MONTHS).rev().map(|back| {
            let stages: &'static [Stage] = if back == 1 { &[Stage::First, Stage::Whole] } else { &[Stage::Whole] };
            (first_of(self.calendar.today()) - Months::new(back), stages)
        })
    }

    /// What an export delivers of a month as things stand at a time; nothing if that was not restated.
    ///
    /// # Errors
    /// None in practice: memory takes what is written.
    pub(super) fn delivery(
        &self,
        export: &str,
        month: NaiveDate,
        (stage, now_ms): (Stage, i64),
    ) -> Result<Option<Delivery>> {
        let cloud = self.clouds.iter().find(|(provider, _)| provider.export == export);
        let (provider, resources) = cloud.context("there is no such export")?;
        if stage == Stage::First && !provider.is_restated {
            return Ok(None);
        }
        let mut lines = Lines::new(provider, month);
        for (day, share) in self.days(month, now_ms) {
            let late = day.day() + ESTIMATED > (month + Months::new(1) - Days::new(1)).day();
            let share = if stage == Stage::First && late { share * 0.85 } else { share };
            self.day(&mut lines, resources, (day, share))?;
        }
        let is_over = month < first_of(self.calendar.today());
        lines.month(provider.is_restated && is_over && stage == Stage::Whole)?;
        let file = lines.file.finish()?;
        Ok(Some(Delivery { export: provider.export, part: month.format("%Y-%m").to_string(), file }))
    }

    /// Lines of a day, of which a share is over.
    fn day(&self, lines: &mut Lines, resources: &[Resource], (day, share): (NaiveDate, f64)) -> Result<()> {
        let period = (day, day + Days::new(1));
        let step = self.step(day);
        let mut under_plan = 0;
        for resource in resources.iter().step_by(step) {
            let amount = self.amount(resource, (day, share), step);
            if resource.is_committed {
                // List and agreed prices are what it would have cost without.
                lines.line(period, [Amount(0), amount, amount.percent(155), amount.percent(140)], &resource.columns)?;
                under_plan += amount.0;
            } else {
                lines.line(period, [amount, amount, amount.percent(112), amount], &resource.columns)?;
            }
        }
        lines.plan(period, Amount(under_plan))?;
        lines.write()
    }

    /// What a resource costs on a day, of which a share is over.
    fn amount(&self, resource: &Resource, (day, share): (NaiveDate, f64), step: usize) -> Amount {
        let back = (self.calendar.today() - day).num_days();
        let grown = 1.0 - 0.0008 * length(&(0..back));
        let more = if resource.is_checkout && day == self.calendar.incident_day() { 4.5 } else { 1.0 };
        let varied = 0.9 + 0.2 * chance(resource.key, i64::from(day.num_days_from_ce()));
        let of = if step == 1 { 1.0 } else { length(&(0..i64::try_from(step).unwrap_or(1))) };
        Amount::of(resource.units_a_day * grown * more * varied * share * of)
    }

    /// Days of a month that have begun, and what share of each is over.
    fn days(&self, month: NaiveDate, now_ms: i64) -> impl Iterator<Item = (NaiveDate, f64)> {
        let (today, end) = (super::calendar::date(now_ms), month + Months::new(1));
        let hours = now_ms.rem_euclid(DAY_MS) / 3_600_000 + 1;
        let days = month.iter_days().take_while(move |day| *day < end && *day <= today);
        days.map(move |day| (day, if day == today { length(&(0..hours)) / 24.0 } else { 1.0 }))
    }

    /// One line stands for so many resources.
    fn step(&self, day: NaiveDate) -> usize {
        let history = &self.calendar.history_ms;
        let detailed = super::calendar::date(history.end - DETAILED * (history.end - history.start));
        if day >= first_of(detailed) { 1 } else { SUMMED }
    }

    /// What a team has been billed this month in US dollars, in cents.
    pub(super) fn spent_cents(&self, team: &str) -> i64 {
        let now_ms = self.calendar.history_ms.end;
        let month = first_of(self.calendar.today());
        let clouds = self.clouds.iter().filter(|(provider, _)| provider.currency == "USD");
        let mut spent = 0;
        for (_, resources) in clouds {
            for (day, share) in self.days(month, now_ms) {
                let step = self.step(day);
                let of = resources.iter().step_by(step).filter(|of| of.team == Some(team) && !of.is_committed);
                spent += of.map(|resource| self.amount(resource, (day, share), step).0).sum::<i64>();
            }
        }
        spent / 100
    }

    /// Who accounts belong to, as CSV.
    pub(super) fn accounts() -> String {
        let mut csv = String::from("SubAccountId,Name,Path,Owner,Environment\n");
        for Provider { name, accounts, .. } in &PROVIDERS {
            for (account, (what, owner, environment)) in accounts.iter().zip(KINDS) {
                // Writing to a string cannot fail.
                let _ = writeln!(csv, "{account},{what} ({name}),Root/{name}/{what},{owner},{environment}");
            }
        }
        csv
    }

    /// What a euro was worth in each month, as CSV.
    pub(super) fn rates(&self) -> String {
        let mut csv = String::from("Month,FromCurrency,ToCurrency,Rate\n");
        for (month, _) in self.months() {
            let _ = writeln!(csv, "{},EUR,USD,1.{:02}", month.format("%Y-%m"), 4 + month.month() % 5);
        }
        csv
    }
}

/// What the accounts of a cloud are for, whose they are, and the environment.
const KINDS: [(&str, &str, &str); 3] =
    [("production", "bob", "production"), ("development", "bob", "development"), ("data", "cleo", "production")];

fn first_of(day: NaiveDate) -> NaiveDate {
    day - Days::new(u64::from(day.day0()))
}

fn resource(provider: &'static Provider, key: u64) -> Resource {
    let part = |name: &str, of: u64| mixed(key ^ super::calendar::key(0, name)) % of;
    let mut left = part("project", 100);
    let project = PROJECTS.iter().find(|(.., many)| {
        let is_it = left < *many;
        left = left.saturating_sub(*many);
        is_it
    });
    let is_production = part("environment", 10) < 7;
    // Machines are the most, and cheap ones more than dear ones.
    let (service, category, units) = provider.services[[0, 0, 0, 0, 1, 2, 2, 2, 3, 4][usize_of(part("service", 10))]];
    let is_machine = service == provider.services[0].0;
    let account = match project {
        Some(("data", ..)) => provider.accounts[2],
        _ if is_production => provider.accounts[0],
        _ => provider.accounts[1],
    };
    let plan = provider.plan.filter(|_| is_machine && is_production && part("plan", 100) < 35);
    let (pricing, commitment) = match plan {
        Some(plan) => ("Committed", format!("{plan},Used")),
        None => ("Standard", ",,,,".to_owned()),
    };
    let Provider { currency, billing_account, name, region, .. } = provider;
    let id = format!("{}-{:012x}", category.to_lowercase(), key >> 16);
    let tags = project.map(|project| tags(project, is_production, part("owner", 5) > 0)).unwrap_or_default();
    Resource {
        columns: format!(
            "{currency},{billing_account},{name},{name},{region},{account},{service},{category},Usage,{pricing},{id},{commitment},{tags}"
        ),
        key,
        units_a_day: units * [0.3, 0.5, 0.8, 1.0, 2.4][usize_of(part("size", 5))],
        team: project.map(|(team, ..)| *team),
        is_committed: plan.is_some(),
        is_checkout: is_machine && project.is_some_and(|(_, project, ..)| *project == "checkout"),
    }
}

/// A small number as a place in a list.
fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or_default()
}

/// Tags as a cell; not everybody names an owner.
fn tags((team, project, center, owner, application, _): &Project, is_production: bool, has_owner: bool) -> String {
    let environment = if is_production { "production" } else { "development" };
    let owner = if has_owner { format!(r#", ""Owner"": ""{owner}"""#) } else { String::new() };
    format!(
        r#""{{""Team"": ""{team}"", ""Environment"": ""{environment}"", ""Project"": ""{project}"", ""CostCenter"": ""{center}"", ""Application"": ""{application}""{owner}}}""#
    )
}

/// A file while it is written.
struct Lines {
    provider: &'static Provider,
    month: NaiveDate,
    /// What both ends of the billing period are called.
    period: String,
    text: String,
    file: GzEncoder<Vec<u8>>,
    billed: i64,
}

impl Lines {
    fn new(provider: &'static Provider, month: NaiveDate) -> Self {
        let period = format!("{month}T00:00:00Z,{}T00:00:00Z", month + Months::new(1));
        let file = GzEncoder::new(Vec::new(), Compression::fast());
        Self { provider, month, period, text: HEADER.to_owned(), file, billed: 0 }
    }

    fn line(&mut self, (from, to): (NaiveDate, NaiveDate), costs: [Amount; 4], columns: &str) -> fmt::Result {
        let [billed, effective, list, contracted] = costs;
        self.billed += billed.0;
        let period = &self.period;
        writeln!(
            self.text,
            "{period},{from}T00:00:00Z,{to}T00:00:00Z,{billed},{effective},{list},{contracted},{columns}"
        )
    }

    /// Hands the text over to be compressed.
    fn write(&mut self) -> Result<()> {
        self.file.write_all(self.text.as_bytes())?;
        self.text.clear();
        Ok(())
    }

    /// What the commitment cost on a day, and what of it nobody used.
    fn plan(&mut self, period: (NaiveDate, NaiveDate), used: Amount) -> fmt::Result {
        let Provider { currency, billing_account, name, region, accounts: [account, ..], .. } = self.provider;
        let (service, category, _) = self.provider.services[0];
        let Some(plan) = self.provider.plan.filter(|_| used.0 > 0) else { return Ok(()) };
        let unused = used.percent(7);
        let paid = Amount(used.0 + unused.0);
        let whose = format!("{currency},{billing_account},{name},{name},{region}");
        let of = format!("{whose},{account},{service},{category},Usage,Committed,,{plan},Unused,");
        self.line(period, [Amount(0), unused, Amount(0), Amount(0)], &of)?;
        let of = format!("{whose},{billing_account},{service},{category},Purchase,Standard,,{plan},,");
        self.line(period, [paid, Amount(0), paid, paid], &of)
    }

    /// What is billed by the month: support, tax, and what was credited in the end, if anything was.
    fn month(&mut self, is_credited: bool) -> Result<()> {
        let Provider { currency, billing_account, name, .. } = self.provider;
        let period = (self.month, self.month + Months::new(1));
        let whose = format!("{currency},{billing_account},{name},{name},,{billing_account}");
        let mut lines = vec![("Support", "Other", "Purchase,Standard", Amount(self.billed).percent(3))];
        if is_credited {
            lines.push((self.provider.services[0].0, "Compute", "Credit,", Amount(-self.billed).percent(1)));
        }
        lines.push(("Tax", "Other", "Tax,", Amount(self.billed).percent(5)));
        for (service, category, charge, amount) in lines {
            self.line(period, [amount; 4], &format!("{whose},{service},{category},{charge},,,,,,,"))?;
        }
        self.write()
    }
}

#[cfg(test)]
mod tests;
