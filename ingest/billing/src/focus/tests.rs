//! What FOCUS files do in the wild.

use crate::testing::read;

#[test]
fn names_of_other_versions_and_cases_are_found() {
    let text = "billedcost,CHARGECATEGORY,ChargePeriodStart,BillingPeriodStart,BillingCurrency,Provider,Publisher,InvoiceIssuer,Region,\
UsageQuantity,UsageUnit,SkuPriceid,Id,x_Foo,bill/Some Thing.v1,Tags\n\
1.5,Usage,2026-10-05T00:00:00Z,2026-10-01T00:00:00Z,USD,AWS,Acme,AWS Inc,us-east-1,2,Hours,P1,7,foo,,\
\"{\"\"b\"\": true, \"\"a\"\": \"\"1\"\"}\"\n\
2,Usage,2026-10-05T00:00:00Z,2026-10-01T00:00:00Z,USD,NULL,null,(null),,,,,NULL,(null),thing,NULL\n";
    let read = read(text, |_| {});
    assert_eq!(
        read.rows(&[
            "BilledCost",
            "ProviderName",
            "PublisherName",
            "InvoiceIssuerName",
            "RegionId",
            "ConsumedQuantity",
            "ConsumedUnit",
            "SkuPriceId",
            "x_Columns",
            "Tags"
        ]),
        [
            "1.5|AWS|Acme|AWS Inc|us-east-1|2|Hours|P1|x_Foo=foo x_Id=7|a=1 b=true",
            "2||||||||x_bill_Some_Thing_v1=thing|"
        ]
    );
    assert_eq!(
        read.rows(&["x_Scope", "x_File", "x_Origin", "x_BillingMonth"])[0],
        "test|test.csv|delivered|2026-10-01"
    );
}

#[test]
fn what_is_missing_is_taken_from_the_options() {
    let text = "BilledCost,ChargeCategory,BillingPeriodStart,ChargePeriodStart,InvoiceId\n\
1,Usage,2026-10-01,2026-10-07,I1\n2,Usage,2026-10-01,,\n3,Usage,,2026-09-07,I1\n4,Usage,,,I1\n";
    let read = read(text, |options| {
        options.assume =
            [("BillingCurrency", "EUR"), ("ProviderName", "Acme")].map(|(a, b)| (a.to_owned(), b.to_owned())).into();
    });
    assert_eq!(
        read.rows(&[
            "BilledCost",
            "BillingCurrency",
            "ProviderName",
            "ChargePeriodStart",
            "BillingPeriodStart",
            "x_Adjustments"
        ]),
        [
            "1|EUR|Acme|2026-10-07T00:00:00Z|2026-10-01T00:00:00Z|assumed-billing-currency",
            "2|EUR|Acme|2026-10-01T00:00:00Z|2026-10-01T00:00:00Z|assumed-billing-currency charge-period-from-billing-period",
            "3|EUR|Acme|2026-09-07T00:00:00Z|2026-09-01T00:00:00Z|assumed-billing-currency",
        ]
    );
    assert_eq!(read.report.rejects[0].reason, "the time of the charge is missing");
    assert_eq!((read.report.rows_without_invoice, read.report.is_invoiced()), (1, false));
    let assumed = &read.report.adjustments[&(crate::Adjustment::AssumedCurrency, "EUR".to_owned())];
    assert_eq!((assumed.rows, crate::decimal::text(assumed.sum, 22)), (3, "6".to_owned()));
}

#[test]
fn the_period_of_the_manifest_stands_in() {
    let read = read("BilledCost,ChargeCategory,BillingCurrency,ChargePeriodStart\n1,Tax,USD,\n", |options| {
        options.period_us = Some(1_790_812_800_000_000..1_793_491_200_000_000);
    });
    assert_eq!(
        read.rows(&["ChargePeriodStart", "ChargePeriodEnd", "BillingPeriodStart", "BillingPeriodEnd"]),
        ["2026-10-01T00:00:00Z|2026-11-01T00:00:00Z|2026-10-01T00:00:00Z|2026-11-01T00:00:00Z"]
    );
}

#[test]
fn an_end_that_cannot_be_read_costs_no_money() {
    let read = read(
        "BilledCost,ChargeCategory,BillingCurrency,ChargePeriodStart,ChargePeriodEnd\n1,Usage,USD,2026-10-01,2026-10-01T30:00:00Z\n",
        |_| {},
    );
    assert_eq!(
        read.rows(&["BilledCost", "ChargePeriodEnd", "x_Columns"]),
        ["1||x_ChargePeriodEnd=2026-10-01T30:00:00Z"]
    );
    assert_eq!(read.report.findings["period-end-unreadable"].rows, 1);
}

#[test]
fn what_cannot_be_assumed_is_refused() {
    for name in ["BilledCost", "x_Scope", "billingcurrency", "Nonsense"] {
        let options =
            crate::Options { assume: [(name.to_owned(), "1".to_owned())].into(), ..crate::Options::default() };
        let text = "BilledCost,ChargeCategory,BillingCurrency,ChargePeriodStart\n";
        let error = crate::Reader::open(std::io::Cursor::new(text), options).err().unwrap();
        assert!(error.to_string().contains("cannot be assumed"), "{error}");
    }
}

#[test]
fn rejects_are_bounded_and_counted() {
    let mut text = "BilledCost,ChargeCategory,BillingCurrency,ChargePeriodStart\n".to_owned();
    text.push_str(&format!("{},Usage,USD,2026-10-01\n", "9".repeat(100_000)));
    text.push_str(&"x,Usage,USD,2026-10-01\n".repeat(crate::REJECTS_MAX + 5));
    text.push_str("1,Usage,USD,2026-10-01\n");
    let read = read(&text, |_| {});
    assert_eq!(
        (read.report.rows_rejected, read.report.rejects.len()),
        (crate::REJECTS_MAX as u64 + 6, crate::REJECTS_MAX)
    );
    assert_eq!(read.report.rejects[0].text.len(), crate::REJECT_TEXT_BYTES_MAX);
    assert_eq!(read.rows(&["BilledCost"]), ["1"]);
}

#[test]
fn batches_are_of_bounded_size() {
    let mut text = "BilledCost,ChargeCategory,BillingCurrency,ChargePeriodStart\n".to_owned();
    text.push_str(&"1,Usage,USD,2026-10-01\n".repeat(20_000));
    let read = read(&text, |_| {});
    let sizes: Vec<_> = read.batches.iter().map(|batch| batch.num_rows()).collect();
    assert_eq!(sizes, [8_192, 8_192, 3_616]);
}
