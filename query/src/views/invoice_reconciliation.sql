-- InvoiceIssuerName: Who invoices, as the invoice has it, else as the costs have it.
-- InvoiceId: Number of the invoice.
-- BillingAccountId: Account that is billed, likewise.
-- BillingCurrency: Currency of the amounts.
-- invoiced: What the invoice says, all its lines; of several imports that state it, what the last one says; NULL if there is none in `invoices`.
-- billed: Sum of BilledCost of the rows of `costs` with its number; NULL if there are none. Each row is in one invoice.
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
lines AS (
    SELECT
        source,
        InvoiceId,
        BillingCurrency,
        coalesce(InvoiceIssuerName, '') AS issuer,
        coalesce(BillingAccountId, '') AS account,
        sum(BilledCost) AS invoiced,
        max(loaded_at) AS loaded_at
    FROM invoices
    GROUP BY 1, 2, 3, 4, 5
),
-- A line that does not name its issuer or account is about all of them, and so is what else is stated of that number: were the others
-- compared by themselves, the same costs would count for both.
numbers AS (
    SELECT InvoiceId, BillingCurrency, bool_or(issuer = '') AS of_any_issuer
    FROM lines
    GROUP BY 1, 2
),
issued AS (
    SELECT
        l.*,
        CASE WHEN n.of_any_issuer THEN '' ELSE l.issuer END AS issuer_key
    FROM lines l
    JOIN numbers n ON n.InvoiceId = l.InvoiceId AND n.BillingCurrency = l.BillingCurrency
),
issuers AS (
    SELECT InvoiceId, BillingCurrency, issuer_key, bool_or(account = '') AS of_any_account
    FROM issued
    GROUP BY 1, 2, 3
),
-- Two imports with an invoice are two versions of it, as a file of a month and one of the year; lines of one are added up.
imported AS (
    SELECT
        l.InvoiceId,
        l.BillingCurrency,
        l.issuer_key,
        CASE WHEN i.of_any_account THEN '' ELSE l.account END AS account_key,
        l.source,
        max(l.issuer) AS issuer,
        max(l.account) AS account,
        sum(l.invoiced) AS invoiced,
        max(l.loaded_at) AS loaded_at
    FROM issued l
    JOIN issuers i ON i.InvoiceId = l.InvoiceId AND i.BillingCurrency = l.BillingCurrency AND i.issuer_key = l.issuer_key
    GROUP BY 1, 2, 3, 4, 5
),
ranked AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY InvoiceId, BillingCurrency, issuer_key, account_key ORDER BY loaded_at DESC, source DESC
        ) AS place
    FROM imported
),
stated AS (
    SELECT * FROM ranked WHERE place = 1
),
billed AS (
    SELECT
        c.InvoiceId,
        c.BillingCurrency,
        CASE WHEN n.of_any_issuer THEN '' ELSE coalesce(c.InvoiceIssuerName, '') END AS issuer_key,
        CASE WHEN i.of_any_account THEN '' ELSE coalesce(c.BillingAccountId, '') END AS account_key,
        max(c.InvoiceIssuerName) AS issuer,
        max(c.BillingAccountId) AS account,
        sum(c.billed) AS billed,
        sum(c.rows) AS rows
    FROM costed c
    LEFT JOIN numbers n ON n.InvoiceId = c.InvoiceId AND n.BillingCurrency = c.BillingCurrency
    LEFT JOIN issuers i
        ON i.InvoiceId = c.InvoiceId
        AND i.BillingCurrency = c.BillingCurrency
        AND i.issuer_key = CASE WHEN n.of_any_issuer THEN '' ELSE coalesce(c.InvoiceIssuerName, '') END
    GROUP BY 1, 2, 3, 4
),
compared AS (
    SELECT
        coalesce(nullif(s.issuer, ''), c.issuer) AS issuer,
        coalesce(s.InvoiceId, c.InvoiceId) AS "InvoiceId",
        coalesce(nullif(s.account, ''), c.account) AS account,
        coalesce(s.BillingCurrency, c.BillingCurrency) AS "BillingCurrency",
        s.invoiced,
        c.billed,
        c.billed - s.invoiced AS difference,
        invoice_tolerance(c.rows, coalesce(s.BillingCurrency, c.BillingCurrency)) AS tolerance,
        c.rows
    FROM billed c
    FULL JOIN stated s
        ON s.InvoiceId = c.InvoiceId
        AND s.BillingCurrency = c.BillingCurrency
        AND s.issuer_key = c.issuer_key
        AND s.account_key = c.account_key
)
SELECT
    issuer AS "InvoiceIssuerName",
    InvoiceId,
    account AS "BillingAccountId",
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
