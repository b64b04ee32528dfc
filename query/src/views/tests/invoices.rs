//! Invoices against the costs that are on them.

use super::*;

#[tokio::test]
async fn an_invoice_is_matched_within_its_tolerance_and_what_is_missing_is_told() {
    let on = |id: Value, issuer: &str, account: &str, currency: &str, cost: &str| {
        with(
            line("1", "ec2", "2026-11-02T00:00:00Z", [cost, cost, cost, cost]),
            json!({"InvoiceId": id, "InvoiceIssuerName": issuer, "BillingAccountId": account, "BillingCurrency": currency}),
        )
    };
    let costs = [
        on(json!("A"), "AWS", "1", "USD", "100.25"),
        on(json!("A"), "AWS EMEA", "1", "USD", "0.75"),
        on(json!("B"), "AWS", "1", "USD", "49"),
        on(json!("B"), "AWS", "2", "USD", "7"),
        on(json!("C"), "AWS", "1", "USD", "3"),
        on(json!("J"), "AWS", "1", "JPY", "1100"),
        on(json!(null), "AWS", "1", "USD", "1000"),
    ];
    let invoice = |id: &str, issuer: Value, account: Value, currency: &str, cost: &str| {
        json!({"source": "test", "InvoiceId": id, "InvoiceIssuerName": issuer, "BillingAccountId": account, "BillingCurrency": currency,
               "BilledCost": cost})
    };
    let invoices = [
        // Two lines of one invoice of no named issuer, off by a cent less than a hundred.
        invoice("A", json!(null), json!("1"), "USD", "90"),
        invoice("A", json!(null), json!("1"), "USD", "10.01"),
        invoice("B", json!("AWS"), json!("1"), "USD", "50.01"),
        invoice("J", json!("AWS"), json!(null), "JPY", "1200"),
        invoice("Z", json!("AWS"), json!("9"), "USD", "5"),
    ];
    let bench = books(&[(schemas::costs(), &costs), (schemas::invoices(), &invoices)]);
    let sql = "SELECT InvoiceIssuerName, InvoiceId, BillingAccountId, BillingCurrency, invoiced, billed, difference, tolerance, rows, status \
               FROM invoice_reconciliation ORDER BY 2, 3";
    assert_eq!(
        ask(&bench, sql).await,
        [
            "AWS EMEA A 1 USD 100.01 101 0.99 1 2 matched",
            "AWS B 1 USD 50.01 49 -1.01 1 1 off",
            "AWS B 2 USD - 7 - 1 1 missing invoice",
            "AWS C 1 USD - 3 - 1 1 missing invoice",
            "AWS J 1 JPY 1200 1100 -100 100 1 matched",
            "AWS Z 9 USD 5 - - 1 - missing in costs",
        ]
    );
}

/// A row of costs on an invoice: number, issuer, account, cost.
fn cost(id: &str, issuer: &str, account: &str, cost: &str) -> Value {
    let on = json!({"InvoiceId": id, "InvoiceIssuerName": issuer, "BillingAccountId": account});
    with(line("1", "ec2", "2026-11-02T00:00:00Z", [cost, cost, cost, cost]), on)
}

/// A line of an invoice: import and its day, number, issuer, account, amount.
fn stated(import: (&str, u32), id: &str, issuer: Value, account: Value, cost: &str) -> Value {
    let (source, day) = import;
    json!({"source": source, "InvoiceId": id, "InvoiceIssuerName": issuer, "BillingAccountId": account, "BillingCurrency": "USD",
           "BilledCost": cost, "loaded_at": format!("2026-12-{day:02}T00:00:00Z")})
}

const COMPARED: &str = "SELECT InvoiceId, InvoiceIssuerName, BillingAccountId, invoiced, billed, rows, status FROM invoice_reconciliation \
                        ORDER BY 1, 2, 3";

#[tokio::test]
async fn costs_are_in_one_invoice_however_it_is_stated() {
    let any = || json!(null);
    let one = ("books", 1);
    let invoices = [
        // Lines with and without their issuer.
        stated(one, "A", json!("AWS"), any(), "90"),
        stated(one, "A", any(), any(), "10"),
        // Lines of two accounts, each with its own costs.
        stated(one, "B", json!("AWS"), json!("1"), "30"),
        stated(one, "B", json!("AWS"), json!("1"), "30"),
        stated(one, "B", json!("AWS"), json!("2"), "40"),
        // A line of an account, and one that names none.
        stated(one, "C", json!("AWS"), json!("1"), "60"),
        stated(one, "C", json!("AWS"), any(), "40"),
        // One number that two issuers use.
        stated(one, "D", json!("AWS"), any(), "5"),
        stated(one, "D", json!("Acme"), json!("1"), "7"),
        // A line without an issuer may be either's.
        stated(one, "E", json!("AWS"), json!("1"), "5"),
        stated(one, "E", any(), json!("1"), "7"),
        stated(one, "E", json!("AWS"), json!("2"), "2"),
    ];
    let costs = [
        cost("A", "AWS", "1", "60"),
        cost("A", "AWS", "2", "40"),
        cost("B", "AWS", "1", "60"),
        cost("B", "AWS", "2", "40"),
        cost("C", "AWS", "1", "60"),
        cost("C", "AWS", "2", "39"),
        cost("C", "AWS", "3", "1"),
        cost("D", "AWS", "1", "5"),
        cost("D", "Acme", "1", "7"),
        cost("E", "AWS", "1", "5"),
        cost("E", "Acme", "1", "7"),
        cost("E", "AWS", "2", "2"),
    ];
    let bench = books(&[(schemas::costs(), &costs), (schemas::invoices(), &invoices)]);
    assert_eq!(
        ask(&bench, COMPARED).await,
        [
            "A AWS 2 100 100 2 matched",
            "B AWS 1 60 60 1 matched",
            "B AWS 2 40 40 1 matched",
            "C AWS 1 100 100 3 matched",
            "D AWS 1 5 5 1 matched",
            "D Acme 1 7 7 1 matched",
            "E AWS 1 12 12 2 matched",
            "E AWS 2 2 2 1 matched",
        ]
    );
    let sums = "SELECT sum(billed) = (SELECT sum(BilledCost) FROM costs), sum(invoiced) = (SELECT sum(BilledCost) FROM invoices) \
                FROM invoice_reconciliation";
    assert_eq!(ask(&bench, sums).await, ["true true"]);
}

#[tokio::test]
async fn an_invoice_of_two_imports_counts_as_the_later_one_says() {
    let any = || json!(null);
    let (month, year) = (("2026-11.csv", 2), ("2026.csv", 5));
    let invoices = [
        // Once with its issuer and once without.
        stated(month, "A", json!("AWS"), any(), "100"),
        stated(year, "A", any(), any(), "60"),
        stated(year, "A", any(), any(), "41"),
        // A total and its accounts.
        stated(month, "B", json!("AWS"), any(), "70"),
        stated(year, "B", json!("AWS"), json!("1"), "30"),
        stated(year, "B", json!("AWS"), json!("2"), "40"),
        // Imports of an account each.
        stated(month, "C", json!("AWS"), json!("1"), "5"),
        stated(year, "C", json!("AWS"), json!("2"), "6"),
        stated(month, "D", json!("AWS"), any(), "9"),
    ];
    let costs = [
        cost("A", "AWS", "1", "101"),
        cost("B", "AWS", "1", "30"),
        cost("B", "AWS", "2", "40"),
        cost("C", "AWS", "1", "5"),
        cost("C", "AWS", "2", "6"),
    ];
    let bench = books(&[(schemas::costs(), &costs), (schemas::invoices(), &invoices)]);
    assert_eq!(
        ask(&bench, COMPARED).await,
        [
            "A AWS 1 101 101 1 matched",
            "B AWS 2 70 70 2 matched",
            "C AWS 1 5 5 1 matched",
            "C AWS 2 6 6 1 matched",
            "D AWS - 9 - - missing in costs",
        ]
    );
}
