//! Lines as people write them.

use crate::testing::read;

#[test]
fn days_months_and_periods_are_charged() {
    let text = "Period,Vendor,Service,Description,Amount,Currency\n\
2026-11-05,Acme,Support,one day,10.50,EUR\n\
2026-11,Acme,Seats,,300,EUR\n\
2026-11-01/2027-11-01,Acme,Licence,a year,1200,USD\n\
2026-11,Acme,Seats,paid back,-20,EUR\n\
sometime,Acme,Seats,,1,EUR\n\
2026-11,Acme,Seats,\"1,000\",\"1,000\",EUR\n";
    let read = read(text, |_| {});
    assert_eq!(
        read.rows(&[
            "BilledCost",
            "EffectiveCost",
            "ChargeCategory",
            "ChargePeriodStart",
            "ChargePeriodEnd",
            "x_BillingMonth",
            "ProviderName"
        ]),
        [
            "10.5|10.5|Purchase|2026-11-05T00:00:00Z|2026-11-06T00:00:00Z|2026-11-01|Acme",
            "300|300|Purchase|2026-11-01T00:00:00Z|2026-12-01T00:00:00Z|2026-11-01|Acme",
            "1200|1200|Purchase|2026-11-01T00:00:00Z|2027-11-01T00:00:00Z|2026-11-01|Acme",
            "-20|-20|Credit|2026-11-01T00:00:00Z|2026-12-01T00:00:00Z|2026-11-01|Acme",
        ]
    );
    let rejects: Vec<_> =
        read.report.rejects.iter().map(|reject| (reject.line, reject.column.as_deref().unwrap_or_default())).collect();
    assert_eq!(rejects, [(6, "Period"), (7, "Amount")]);
}
