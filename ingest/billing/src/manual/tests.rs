//! Lines as people write them.

use std::io::Cursor;

use crate::{Adjustment, Options, Reader, decimal, testing::read, time::micros};

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

#[test]
fn a_line_that_recurs_is_a_row_for_each_period_and_is_delivered_once() {
    let text = "date,provider,service,description,amount,currency,every,until\n\
2024-01-31,Acme,Seats,,10.1,USD,month,2024-03\n\
2026-11,Acme,Support,gold,300,USD,Quarter,2027-02-01\n\
2026-11-05,Acme,Setup,once,7,USD,,\n\
2026-11,Acme,Seats,paid back,-0.5,EUR,year,2028-10-31\n";
    let read = read(text, |options| {
        // The delivery is of a month; recurring charges are of theirs.
        options.period_us = micros("2026-11-01").zip(micros("2026-12-01")).map(|(start, end)| start..end);
    });
    let columns = [
        "x_BillingMonth",
        "ChargePeriodStart",
        "ChargePeriodEnd",
        "BilledCost",
        "EffectiveCost",
        "x_DeliveredCost",
        "x_Origin",
        "x_Adjustments",
        "ChargeCategory",
        "ChargeFrequency",
    ];
    assert_eq!(
        read.rows(&columns),
        [
            "2024-01-01|2024-01-31T00:00:00Z|2024-02-29T00:00:00Z|10.1|10.1|10.1|delivered||Purchase|Recurring",
            "2024-02-01|2024-02-29T00:00:00Z|2024-03-31T00:00:00Z|10.1|10.1|0|derived|recurring-charge|Purchase|Recurring",
            "2024-03-01|2024-03-31T00:00:00Z|2024-04-30T00:00:00Z|10.1|10.1|0|derived|recurring-charge|Purchase|Recurring",
            "2026-11-01|2026-11-01T00:00:00Z|2027-02-01T00:00:00Z|300|300|300|delivered||Purchase|Recurring",
            "2027-02-01|2027-02-01T00:00:00Z|2027-05-01T00:00:00Z|300|300|0|derived|recurring-charge|Purchase|Recurring",
            "2026-11-01|2026-11-05T00:00:00Z|2026-11-06T00:00:00Z|7|7|7|delivered||Purchase|One-Time",
            "2026-11-01|2026-11-01T00:00:00Z|2027-11-01T00:00:00Z|-0.5|-0.5|-0.5|delivered||Credit|Recurring",
            "2027-11-01|2027-11-01T00:00:00Z|2028-11-01T00:00:00Z|-0.5|-0.5|0|derived|recurring-charge|Credit|Recurring",
        ]
    );
    assert_eq!(
        read.rows(&["BillingPeriodStart", "BillingPeriodEnd"])[1..3],
        ["2024-02-01T00:00:00Z|2024-03-01T00:00:00Z", "2024-03-01T00:00:00Z|2024-04-01T00:00:00Z"]
    );
    // Delivered is what the file adds up to, and with what recurs it is what is billed.
    assert_eq!(read.sums("USD"), "delivered 317.1 billed 637.3 effective 637.3");
    assert_eq!(read.sums("EUR"), "delivered -0.5 billed -1 effective -1");
    let recurring = |currency: &str| {
        let counted = &read.report.adjustments[&(Adjustment::RecurringCharge, currency.to_owned())];
        (counted.rows, decimal::text(counted.sum, decimal::MONEY_SCALE))
    };
    assert_eq!((recurring("USD"), recurring("EUR")), ((3, "320.2".to_owned()), (1, "-0.5".to_owned())));
    assert_eq!((read.report.rows_read, read.report.rows_delivered, read.report.rows_derived), (4, 4, 4));
}

#[test]
fn a_line_that_cannot_recur_leaves_no_row() {
    let text = "date,provider,service,description,amount,currency,EVERY,Until\n\
2026-11,Acme,a,,1,USD,weekly,2027-11\n\
2026-11,Acme,b,,1,USD,month,\n\
2026-11,Acme,c,,1,USD,month,never\n\
2026-11,Acme,d,,1,USD,,2027-11\n\
2026-11,Acme,e,,1,USD,month,2026-01\n\
2000-01,Acme,f,,1,USD,month,2090-01\n\
2026-11-01/2026-12-01,Acme,g,,1,USD,month,2027-01\n\
2099-11,Acme,h,,1,USD,month,2100-02\n\
2026-11,Acme,i,,much,USD,month,2027-01\n\
2026-11,Acme,j,,1,,month,2027-01\n\
2026-11,Acme,k,,1,USD,month,2026-12\n";
    let read = read(text, |_| {});
    assert_eq!(read.rows(&["ServiceName", "x_BillingMonth"]), ["k|2026-11-01", "k|2026-12-01"]);
    let rejects = read.report.rejects.iter();
    let rejects: Vec<_> = rejects.map(|reject| (reject.line, reject.column.as_deref().unwrap_or_default())).collect();
    let columns = ["EVERY", "Until", "Until", "Until", "Until", "Until", "date", "Until", "amount", "BillingCurrency"];
    assert_eq!(rejects, (2..).zip(columns).collect::<Vec<_>>());
    assert_eq!(read.report.rows_delivered, 1);
}

#[test]
fn columns_of_what_recurs_may_be_missing_and_others_may_not_be_there() {
    let open = |header: &str, line: &str| {
        Reader::open(Cursor::new(format!("date,provider,service,description,amount,currency{header}\n{line}\n")), {
            Options { file: "lines.csv".to_owned(), ..Options::default() }
        })
    };
    let rows = |header: &str, line: &str| {
        let mut reader = open(header, line).unwrap();
        let rows: usize = reader.by_ref().map(|batch| batch.unwrap().num_rows()).sum();
        (rows, reader.report().rejects.first().map(|reject| reject.column.clone().unwrap_or_default()))
    };
    assert_eq!(rows(",until,every", "2026-11,Acme,a,,1,USD,2027-10,month"), (12, None));
    assert_eq!(rows(",every", "2026-11,Acme,a,,1,USD,"), (1, None));
    assert_eq!(rows(",every", "2026-11,Acme,a,,1,USD,month"), (0, Some("until".to_owned())));
    assert_eq!(rows(",until", "2026-11,Acme,a,,1,USD,2027-11"), (0, Some("until".to_owned())));
    for header in [",team", ",every,team", ",every,until,team"] {
        assert!(open(header, "").is_err(), "{header}");
    }
}
