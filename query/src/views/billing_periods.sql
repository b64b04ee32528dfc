-- export: The export.
-- BillingMonth: First day of the month that is billed.
-- status: `Open`, `Closing`, `Closed` or `Reopened`, as it is now.
-- since: When it became so.
-- reason: What made it so.
-- BillingCurrency: Currency of the sums; there is a row for each that is loaded.
-- BilledCost: Sum of what is loaded; NULL if nothing is.
-- EffectiveCost: Sum of what is loaded.
-- x_Rows: Rows of `costs` that are loaded.
WITH changes AS (
    SELECT
        export,
        BillingMonth,
        status,
        changed_at,
        reason,
        row_number() OVER (PARTITION BY export, BillingMonth ORDER BY changed_at DESC) AS place
    FROM billing_period_changes
),
scopes AS (
    SELECT DISTINCT scope, export FROM billing_loads WHERE revision > 0
),
sums AS (
    SELECT
        s.export,
        c.x_BillingMonth AS month,
        c.BillingCurrency,
        sum(c.BilledCost) AS "BilledCost",
        sum(c.EffectiveCost) AS "EffectiveCost",
        sum(c.x_Rows) AS "x_Rows"
    FROM costs_daily c
    JOIN scopes s ON s.scope = c.x_Scope
    GROUP BY 1, 2, 3
)
SELECT
    p.export,
    p.BillingMonth,
    p.status,
    p.changed_at AS since,
    p.reason,
    s.BillingCurrency,
    s.BilledCost,
    s.EffectiveCost,
    s.x_Rows
FROM changes p
LEFT JOIN sums s ON s.export = p.export AND s.month = p.BillingMonth
WHERE p.place = 1
