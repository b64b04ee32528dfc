-- ChargeDay: UTC day of this part of the charge.
-- ChargePeriodStart: Begin of this part, inclusive.
-- ChargePeriodEnd: End of this part, exclusive.
-- *Cost: Share of this part, by time; the parts of a charge add up to it, to the last digit. Prices stay as they are.
-- *Quantity: Share of this part, like costs.
-- Environment: Mandatory tag, found by the rules of tags that are in force now; likewise the five that follow.
-- Team: See Environment.
-- Project: See Environment.
-- CostCenter: See Environment.
-- Owner: See Environment.
-- Application: See Environment.
-- *: As in `costs`.
SELECT
    *,
    mandatory_tag('Environment', Tags, SubAccountId, ServiceName, ChargePeriodStart) AS "Environment",
    mandatory_tag('Team', Tags, SubAccountId, ServiceName, ChargePeriodStart) AS "Team",
    mandatory_tag('Project', Tags, SubAccountId, ServiceName, ChargePeriodStart) AS "Project",
    mandatory_tag('CostCenter', Tags, SubAccountId, ServiceName, ChargePeriodStart) AS "CostCenter",
    mandatory_tag('Owner', Tags, SubAccountId, ServiceName, ChargePeriodStart) AS "Owner",
    mandatory_tag('Application', Tags, SubAccountId, ServiceName, ChargePeriodStart) AS "Application"
FROM costs_parts
