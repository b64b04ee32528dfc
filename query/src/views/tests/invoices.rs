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
