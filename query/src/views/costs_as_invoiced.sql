-- month: First day of the month that is billed.
-- *Cost: Sum.
-- x_Rows: Rows of `costs` that are summed up.
-- *: As in `costs_daily`.
SELECT
    x_BillingMonth AS month,
    x_Scope,
    ProviderName,
    BillingAccountId,
    SubAccountId,
    ServiceName,
    ServiceCategory,
    RegionId,
    ChargeCategory,
    ChargeClass,
    BillingCurrency,
    Environment,
    Team,
    Project,
    CostCenter,
    Owner,
    Application,
    sum(BilledCost) AS "BilledCost",
    sum(EffectiveCost) AS "EffectiveCost",
    sum(ListCost) AS "ListCost",
    sum(ContractedCost) AS "ContractedCost",
    sum(x_Rows) AS "x_Rows"
FROM costs_daily
GROUP BY ALL
