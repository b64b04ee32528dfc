-- InvoiceIssuerName: Who invoices, as the invoice has it, else as the costs have it.
-- InvoiceId: Number of the invoice.
-- BillingAccountId: Account that is billed, likewise.
-- BillingCurrency: Currency of the amounts.
-- invoiced: What the invoice says; NULL if there is none in `invoices`.
-- billed: Sum of BilledCost of the rows of `costs` with its number; NULL if there are none.
-- difference: billed less invoiced.
-- tolerance: How much of it rounding may be: a hundred of the currency's least units, or half of one by the root of the rows.
-- rows: Rows of `costs` with its number.
-- status: `matched`, `off`, `missing in costs` or `missing invoice`.
WITH costed AS (
    SELECT
        InvoiceId,
        InvoiceIssuerName,
        BillingAccountId,
        BillingCurrency,
        sum(BilledCost) AS billed,
        count(*) AS rows
    FROM costs
    WHERE InvoiceId IS NOT NULL
    GROUP BY 1, 2, 3, 4
),
stated AS (
    SELECT InvoiceId, InvoiceIssuerName, BillingAccountId, BillingCurrency, sum(BilledCost) AS invoiced
    FROM invoices
    GROUP BY 1, 2, 3, 4
),
-- An invoice that does not name its issuer or account is that of all of them.
paired AS (
    SELECT
        coalesce(s.InvoiceId, c.InvoiceId) AS InvoiceId,
        CASE WHEN s.InvoiceId IS NULL THEN c.InvoiceIssuerName ELSE s.InvoiceIssuerName END AS issuer,
        CASE WHEN s.InvoiceId IS NULL THEN c.BillingAccountId ELSE s.BillingAccountId END AS account,
        coalesce(s.BillingCurrency, c.BillingCurrency) AS BillingCurrency,
        max(c.InvoiceIssuerName) AS costed_issuer,
        max(c.BillingAccountId) AS costed_account,
        max(s.invoiced) AS invoiced,
        sum(c.billed) AS billed,
        sum(c.rows) AS rows
    FROM costed c
    FULL JOIN stated s
        ON s.InvoiceId = c.InvoiceId
        AND s.BillingCurrency = c.BillingCurrency
        AND (s.InvoiceIssuerName IS NULL OR s.InvoiceIssuerName = c.InvoiceIssuerName)
        AND (s.BillingAccountId IS NULL OR s.BillingAccountId = c.BillingAccountId)
    GROUP BY 1, 2, 3, 4
),
compared AS (
    SELECT
        *,
        billed - invoiced AS difference,
        invoice_tolerance(rows, BillingCurrency) AS tolerance
    FROM paired
)
SELECT
    coalesce(issuer, costed_issuer) AS "InvoiceIssuerName",
    InvoiceId,
    coalesce(account, costed_account) AS "BillingAccountId",
    BillingCurrency,
    invoiced,
    billed,
    difference,
    tolerance,
    rows,
    CASE
        WHEN invoiced IS NULL THEN 'missing invoice'
        WHEN billed IS NULL THEN 'missing in costs'
        WHEN difference <= tolerance AND billed + tolerance >= invoiced THEN 'matched'
        ELSE 'off'
    END AS status
FROM compared
