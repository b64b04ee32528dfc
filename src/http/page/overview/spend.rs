//! What this month cost so far, by currency, day and service.
//!
//! Sums are made by the engine, exactly, and shown as it says them; only bars are drawn of floats. Currencies are never added.

use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate};
use query::Engine;

use crate::http::page::{
    chart,
    html::{Html, href},
    reason,
    sql::{Rows, rows},
    table, text,
};

/// Currencies that get a picture.
const PICTURES: usize = 3;
/// Services with the highest cost.
const SERVICES: usize = 8;
/// Rows of a question here: a month's days in more currencies than there are.
const ROWS_MAX: usize = 8_192;

/// What is asked of `costs_daily`.
struct Month {
    before: NaiveDate,
    this: NaiveDate,
    next: NaiveDate,
    today: NaiveDate,
}

impl Month {
    fn of(now_ms: i64) -> Option<Self> {
        let today = DateTime::from_timestamp_millis(now_ms)?.date_naive();
        let this = today.with_day(1)?;
        let month = Months::new(1);
        Some(Self { before: this.checked_sub_months(month)?, this, next: this.checked_add_months(month)?, today })
    }

    /// Currencies with this month's cost and the last one's, the dearest first.
    fn totals(&self) -> String {
        let (before, this, next) = (time(self.before), time(self.this), time(self.next));
        format!(
            "SELECT {CURRENCY} AS currency,\n  \
             CAST(coalesce(sum(EffectiveCost) FILTER (WHERE ChargePeriodStart >= {this}), 0) AS DECIMAL(38, 2)) AS this_month,\n  \
             CAST(coalesce(sum(EffectiveCost) FILTER (WHERE ChargePeriodStart < {this}), 0) AS DECIMAL(38, 2)) AS last_month,\n  \
             count(*) FILTER (WHERE ChargePeriodStart >= {this}) AS charges\n\
             FROM costs_daily\nWHERE ChargePeriodStart >= {before} AND ChargePeriodStart < {next} AND {NO_TAX}\n\
             GROUP BY 1\nORDER BY 2 DESC, 1"
        )
    }

    /// This month's days.
    fn days(&self) -> String {
        format!(
            "SELECT {CURRENCY} AS currency, CAST(ChargePeriodStart AS DATE) AS day,\n  \
             CAST(sum(EffectiveCost) AS DECIMAL(38, 2)) AS cost\n{}\nGROUP BY 1, 2\nORDER BY 1, 2",
            self.from()
        )
    }

    /// Services, the dearest first.
    fn services(&self) -> String {
        format!(
            "SELECT coalesce(ServiceName, 'no service') AS service, {CURRENCY} AS currency,\n  \
             CAST(sum(EffectiveCost) AS DECIMAL(38, 2)) AS cost\n{}\nGROUP BY 1, 2\nORDER BY 3 DESC NULLS LAST, 1\nLIMIT {SERVICES}",
            self.from()
        )
    }

    fn from(&self) -> String {
        let (this, next) = (time(self.this), time(self.next));
        format!("FROM costs_daily\nWHERE ChargePeriodStart >= {this} AND ChargePeriodStart < {next} AND {NO_TAX}")
    }
}

const CURRENCY: &str = "coalesce(BillingCurrency, 'no currency')";
const NO_TAX: &str = "coalesce(ChargeCategory, 'Usage') <> 'Tax'";

fn time(day: NaiveDate) -> String {
    format!("CAST('{}T00:00:00Z' AS TIMESTAMP)", day.format("%Y-%m-%d"))
}

/// The part of the overview.
pub(super) async fn part(engine: &Engine, now_ms: i64) -> query::Result<Html> {
    let Some(month) = Month::of(now_ms) else { return Ok(reason("the clock tells no day")) };
    let (totals, days, services) = (month.totals(), month.days(), month.services());
    let (totals, days, services) = tokio::try_join!(
        rows(engine, &totals, ROWS_MAX),
        rows(engine, &days, ROWS_MAX),
        rows(engine, &services, ROWS_MAX),
    )?;
    if totals.rows.is_empty() {
        let name = month.this.format("%B %Y");
        return Ok(reason(format!(
            "no bill has costs of {name} or of the month before: `streamgauge import billing FILE --export NAME` loads one"
        )));
    }
    Ok(laid_out(&month, &totals, &days, &services))
}

fn laid_out(month: &Month, totals: &Rows, days: &Rows, services: &Rows) -> Html {
    let mut html = Html::of(
        "<p>Effective cost without taxes, as charges began. <a href=\"{}\">Ask more in SQL.</a></p>",
        &[&href("sql", &[("query", &month.services())])],
    );
    for (at, total) in totals.rows.iter().enumerate() {
        let [currency, this, before] = [0, 1, 2].map(|at| total.get(at).cloned().flatten().unwrap_or_default());
        html.put(
            "<p class=\"sum\"><strong>{} {}</strong> in {} so far; {} {} in {}</p>",
            &[&this, &currency, &month.this.format("%B"), &before, &currency, &month.before.format("%B")],
        );
        let has_costs = total.get(3).is_some_and(|rows| rows.as_deref() != Some("0"));
        if at < PICTURES && has_costs {
            let name = format!("Cost of each day in {currency}");
            html.add(&chart::bars(&name, &bars(month, days, &currency)));
        }
    }
    let row = |row: &Vec<Option<String>>| row.iter().map(|cell| text(cell.as_deref().unwrap_or_default())).collect();
    let of_services: Vec<Vec<Html>> = services.rows.iter().map(row).collect();
    if !of_services.is_empty() {
        html.add(&table("Services", &[("Service", false), ("Currency", false), ("Cost", true)], &of_services));
    }
    html
}

/// A bar for each day up to today, or to the last one that is paid for already.
fn bars(month: &Month, days: &Rows, currency: &str) -> Vec<(String, f64)> {
    let text = |row: &[Option<String>], at: usize| row.get(at).cloned().flatten().unwrap_or_default();
    let of_currency = days.rows.iter().filter(|row| text(row, 0) == currency);
    let costs: Vec<(String, f64)> =
        of_currency.map(|row| (text(row, 1), text(row, 2).parse().unwrap_or(f64::NAN))).collect();
    let last = costs.last().and_then(|(day, _)| day.parse().ok()).unwrap_or(month.today).max(month.today);
    let mut bars = Vec::new();
    let mut day = month.this;
    while day <= last && day < month.next {
        let name = day.format("%Y-%m-%d").to_string();
        let cost = costs.iter().find(|(known, _)| *known == name).map_or(0.0, |(_, cost)| *cost);
        bars.push((day.day().to_string(), cost));
        let Some(next) = day.checked_add_days(Days::new(1)) else { break };
        day = next;
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-03T12:00:00Z.
    const NOW_MS: i64 = 1_793_707_200_000;

    fn found(rows: &[&[&str]]) -> Rows {
        let row = |row: &&[&str]| row.iter().map(|cell| Some((*cell).to_owned())).collect();
        Rows { columns: Vec::new(), rows: rows.iter().map(row).collect(), is_cut: false }
    }

    #[test]
    fn each_currency_has_its_own_sum_and_its_days_up_to_today() {
        let month = Month::of(NOW_MS).unwrap();
        let totals = found(&[&["USD", "12345678901234567890.25", "7.00", "2"], &["EUR", "0.00", "5.00", "0"]]);
        let days = found(&[&["USD", "2026-11-01", "1.50"], &["USD", "2026-11-03", "2.75"]]);
        let services = found(&[&["<b>EC2", "USD", "4.25"]]);
        let html = laid_out(&month, &totals, &days, &services).into_text();
        assert!(
            html.contains("<strong>12345678901234567890.25 USD</strong> in November so far; 7.00 USD in October"),
            "{html}"
        );
        assert!(html.contains("<strong>0.00 EUR</strong> in November"), "{html}");
        assert_eq!(html.matches("<svg").count(), 1, "a month without costs has no picture: {html}");
        assert!(html.contains("&lt;b&gt;EC2"), "{html}");
        let bars = bars(&month, &days, "USD");
        assert_eq!(bars, [("1".to_owned(), 1.5), ("2".to_owned(), 0.0), ("3".to_owned(), 2.75)]);
    }

    #[test]
    fn a_month_is_asked_from_its_first_day_to_the_next_ones() {
        let december = Month::of(1_798_761_599_000).unwrap();
        assert_eq!(time(december.before), "CAST('2026-11-01T00:00:00Z' AS TIMESTAMP)");
        assert_eq!(time(december.next), "CAST('2027-01-01T00:00:00Z' AS TIMESTAMP)");
    }
}
