//! Bills are whole, of one form, and add up to what is said of them.

use std::{collections::BTreeMap, io::Read as _};

use flate2::read::GzDecoder;

use super::*;

const NOW_MS: i64 = 1_795_901_412_000;

fn text(bills: &Bills, export: &str, month: NaiveDate, stage: Stage) -> String {
    let delivery = bills.delivery(export, month, (stage, NOW_MS)).unwrap().unwrap();
    let mut text = String::new();
    GzDecoder::new(delivery.file.as_slice()).read_to_string(&mut text).unwrap();
    text
}

/// Cells of a line, of which the last is the tags.
fn cells(line: &str) -> Vec<&str> {
    line.splitn(25, ',').collect()
}

fn amount(cell: &str) -> i64 {
    cell.replace('.', "").parse().unwrap()
}

#[test]
fn months_of_a_full_demo_have_more_than_200_000_lines_in_the_columns_of_the_header() {
    let bills = Bills::new(Calendar::new(1, NOW_MS, 30));
    let mut lines = 0;
    for export in bills.exports() {
        for (month, _) in bills.months() {
            let text = text(&bills, export, month, Stage::Whole);
            assert_eq!(cells(text.lines().next().unwrap()).len(), 25);
            for line in text.lines().skip(1) {
                let cells = cells(line);
                assert_eq!(cells.len(), 25, "{line}");
                assert!(cells[24].is_empty() || cells[24].starts_with("\"{\"\"Team"), "{line}");
            }
            lines += text.lines().count() - 1;
        }
    }
    assert!((200_000..400_000).contains(&lines), "{lines}");
}

#[test]
fn what_teams_spent_is_what_the_lines_add_up_to() {
    let bills = Bills::new(Calendar::new(1, NOW_MS, 30));
    let month = first_of(bills.calendar.today());
    let mut sums = BTreeMap::<String, i64>::new();
    for export in ["aws-main", "gcp"] {
        for line in text(&bills, export, month, Stage::Whole).lines().skip(1) {
            let cells = cells(line);
            let team = cells[24].split("\"\"").nth(3).unwrap_or("nobody");
            *sums.entry(team.to_owned()).or_default() += amount(cells[4]);
        }
    }
    for team in ["payments", "platform"] {
        assert!(sums[team] > 10_000_000, "{sums:?}");
        assert_eq!(bills.spent_cents(team), sums[team] / 100);
    }
}

#[test]
fn a_restated_month_came_to_less_before_and_the_incident_costs() {
    let bills = Bills::new(Calendar::new(1, NOW_MS, 30));
    let today = bills.calendar.today();
    let last = first_of(today) - Months::new(1);
    let sum = |text: &str| text.lines().skip(1).map(|line| amount(cells(line)[4])).sum::<i64>();
    let [first, whole] = [Stage::First, Stage::Whole].map(|stage| sum(&text(&bills, "aws-main", last, stage)));
    assert!(first < whole, "{first} {whole}");
    assert!(bills.delivery("gcp", last, (Stage::First, NOW_MS)).unwrap().is_none());
    let this = text(&bills, "aws-main", first_of(today), Stage::Whole);
    let checkout = |day: NaiveDate| -> i64 {
        let of = this.lines().map(cells).filter(|cells| cells[2].starts_with(&day.to_string()));
        let of = of.filter(|cells| cells[24].contains("checkout") && cells[14] == "Amazon EC2");
        of.map(|cells| amount(cells[5])).sum()
    };
    let incident = bills.calendar.incident_day();
    assert!(checkout(incident) > 3 * checkout(incident - Days::new(1)));
}
