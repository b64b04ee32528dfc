-- export: The export.
-- last_delivery: When the provider delivered what was loaded last; NULL if it did not say.
-- last_load: When it was loaded.
-- complete_through: Until when charges are complete, as far as can be told from what is loaded.
-- lag_seconds: How long ago that is, whole seconds.
-- scopes: Parts of it that are loaded, such as months.
-- rows: Rows of `costs` that they have.
-- rejects: Lines that were refused.
-- findings: What a reader of the numbers should know, of all parts.
WITH latest AS (
    SELECT
        export,
        delivered_at,
        loaded_at,
        complete_through,
        rows,
        rejects,
        findings,
        row_number() OVER (PARTITION BY scope ORDER BY revision DESC) AS place
    FROM billing_loads
    WHERE revision > 0
)
SELECT
    export,
    max(delivered_at) AS last_delivery,
    max(loaded_at) AS last_load,
    max(complete_through) AS complete_through,
    to_unixtime(now()) - to_unixtime(max(complete_through)) AS lag_seconds,
    count(*) AS scopes,
    sum(rows) AS rows,
    sum(rejects) AS rejects,
    flatten(array_agg(findings)) AS findings
FROM latest
WHERE place = 1
GROUP BY export
