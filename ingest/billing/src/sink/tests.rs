//! What holds for rows of any provider.

use crate::{testing::read, time::micros};

#[test]
fn a_month_or_charge_of_another_century_is_a_reject() {
    let text = "BilledCost,ChargeCategory,BillingCurrency,BillingPeriodStart,ChargePeriodStart\n\
1,Usage,USD,1999-12-31T23:59:59Z,2026-10-01\n\
2,Usage,USD,2100-01-01,2026-10-01\n\
3,Usage,USD,1970-01-01,\n\
4,Usage,USD,2026-10-01,1989-12-31\n\
5,Usage,USD,2026-10-01,2100-01-01\n\
6,Usage,USD,,1970-01-01\n\
7,Usage,USD,,1995-05-05\n\
8,Usage,USD,2000-01-01,1990-01-01\n\
9,Usage,USD,2099-12-01,2099-12-31\n\
10,Usage,USD,9999-12-01,9999-12-31\n";
    let read = read(text, |_| {});
    assert_eq!(read.rows(&["BilledCost", "x_BillingMonth"]), ["8|2000-01-01", "9|2099-12-01"]);
    let rejects = read.report.rejects.iter();
    let rejects: Vec<_> =
        rejects.map(|r| format!("{} {}", r.column.as_deref().unwrap_or_default(), r.reason)).collect();
    let billing =
        |value: &str| format!("BillingPeriodStart out of range: billing months are of 2000 to 2099 value={value}");
    let charge = |value: &str| format!("ChargePeriodStart out of range: charges are of 1990 to 2099 value={value}");
    assert_eq!(
        rejects,
        [
            billing("1999-12-31T23:59:59Z"),
            billing("2100-01-01T00:00:00Z"),
            billing("1970-01-01T00:00:00Z"),
            charge("1989-12-31T00:00:00Z"),
            charge("2100-01-01T00:00:00Z"),
            charge("1970-01-01T00:00:00Z"),
            billing("1995-05-01T00:00:00Z"),
            billing("9999-12-01T00:00:00Z"),
        ]
    );
    assert_eq!(read.report.billing_months.len(), 2);
}

#[test]
fn a_fee_of_the_month_hides_not_how_far_the_usage_is() {
    let header = "BilledCost,ChargeCategory,ChargeFrequency,CommitmentDiscountStatus,BillingCurrency,BillingPeriodStart,\
ChargePeriodStart,ChargePeriodEnd\n";
    let until = |lines: &str| read(&format!("{header}{lines}"), |_| {}).report.used_until_us;
    let fees = "1,Purchase,Recurring,,USD,2026-11-01,2026-11-01,2026-12-01\n\
1,Usage,Recurring,,USD,2026-11-01,2026-11-01,2026-12-01\n\
1,Usage,One-Time,,USD,2026-11-01,2026-11-01,2026-12-01\n\
1,Usage,Usage-Based,Unused,USD,2026-11-01,2026-11-01,2026-12-01\n\
1,Tax,,,USD,2026-11-01,2026-11-01,2026-12-01\n\
1,Credit,Usage-Based,,USD,2026-11-01,2026-11-01,2026-12-01\n\
no,Usage,Usage-Based,,USD,2026-11-01,2026-11-01,2026-12-01\n";
    assert_eq!(until(fees), None);
    let used = "1,Usage,Usage-Based,Used,USD,2026-11-01,2026-11-05,2026-11-06\n\
1,Usage,,,USD,2026-11-01,2026-11-04,2026-11-05\n";
    assert_eq!(until(&format!("{used}{fees}")), micros("2026-11-06"));
    assert_eq!(until(&format!("{fees}1,Usage,,,USD,2026-11-01,2026-11-08,\n{used}")), micros("2026-11-08"));
}
