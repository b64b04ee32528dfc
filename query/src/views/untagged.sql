-- month: First day of the month that is billed.
-- SubAccountId: As in `costs`.
-- ServiceName: As in `costs`.
-- BillingCurrency: As in `costs`.
-- tag: The mandatory tag that this row is about.
-- untagged_cost: EffectiveCost of usage without the tag; BilledCost where there is no EffectiveCost.
-- taggable_cost: The same of all usage that can be tagged.
-- untagged_share: untagged_cost as a share of taggable_cost.
-- untaggable_cost: The same of what cannot: taxes, credits, adjustments, purchases, support, and what nothing used of a commitment.
WITH spend AS (
    SELECT
        x_BillingMonth AS month,
        SubAccountId,
        ServiceName,
        BillingCurrency,
        coalesce(EffectiveCost, BilledCost) AS cost,
        -- Tags are of resources, and only usage is of one.
        coalesce(ChargeCategory, 'Usage') = 'Usage'
            AND coalesce(CommitmentDiscountStatus, '') <> 'Unused'
            AND coalesce(ServiceName, '') NOT ILIKE '%support%' AS taggable,
        Environment,
        Team,
        Project,
        CostCenter,
        Owner,
        Application,
        CAST(0 AS DECIMAL(38, 22)) AS nothing
    FROM costs_daily
),
sums AS (
    SELECT
        month,
        SubAccountId,
        ServiceName,
        BillingCurrency,
        sum(CASE WHEN taggable THEN cost ELSE nothing END) AS taggable_cost,
        sum(CASE WHEN taggable THEN nothing ELSE cost END) AS untaggable_cost,
        sum(CASE WHEN taggable AND Environment IS NULL THEN cost ELSE nothing END) AS no_environment,
        sum(CASE WHEN taggable AND Team IS NULL THEN cost ELSE nothing END) AS no_team,
        sum(CASE WHEN taggable AND Project IS NULL THEN cost ELSE nothing END) AS no_project,
        sum(CASE WHEN taggable AND CostCenter IS NULL THEN cost ELSE nothing END) AS no_costcenter,
        sum(CASE WHEN taggable AND Owner IS NULL THEN cost ELSE nothing END) AS no_owner,
        sum(CASE WHEN taggable AND Application IS NULL THEN cost ELSE nothing END) AS no_application
    FROM spend
    GROUP BY 1, 2, 3, 4
),
each AS (
    SELECT
        sums.*,
        tags.tag,
        CASE tags.tag
            WHEN 'Environment' THEN no_environment
            WHEN 'Team' THEN no_team
            WHEN 'Project' THEN no_project
            WHEN 'CostCenter' THEN no_costcenter
            WHEN 'Owner' THEN no_owner
            WHEN 'Application' THEN no_application
        END AS untagged_cost
    FROM sums
    CROSS JOIN (VALUES ('Environment'), ('Team'), ('Project'), ('CostCenter'), ('Owner'), ('Application')) AS tags(tag)
)
SELECT
    month,
    SubAccountId,
    ServiceName,
    BillingCurrency,
    tag,
    untagged_cost,
    taggable_cost,
    untagged_cost / nullif(taggable_cost, 0) AS untagged_share,
    untaggable_cost
FROM each
