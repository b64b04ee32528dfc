//! What a line of AWS' report costs, by its type.
//!
//! Called by `aws` for each record. Commitments are the hard part: usage they cover is billed by their fees, and costs what was prepaid for
//! it; a fee costs nothing itself, but what nothing used of it is a row of ours. Over the time a commitment covers, what is billed is what
//! it costs.
//!
//! Invariants: every cost but the plain one has an adjustment. Spec: <https://docs.aws.amazon.com/cur/latest/userguide/Lineitem-columns.html>

use crate::{
    columns::{Amount, Quantity, Text, Time},
    record::{Column, Header, Record},
    row::{Adjustment, Fault, Row, sum},
    sink::Sink,
    time,
};

pub(super) const USAGE: &str = "Usage";
const PURCHASE: &str = "Purchase";
/// Code of the finding that covered usage has no effective cost: the report was made without it.
const EFFECTIVE_MISSING: &str = "aws-effective-cost-missing";
/// Code of the finding that a discount may be counted twice, in itself and in net costs.
const DISCOUNT_WITHOUT_NET: &str = "aws-discount-without-net-cost";

/// Type of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Usage,
    ReservationCovered,
    SavingsPlanCovered,
    SavingsPlanNegation,
    SavingsPlanRecurringFee,
    SavingsPlanUpfrontFee,
    ReservationFee,
    Fee,
    Tax,
    Credit,
    Refund,
    Discount,
    /// A container's share in the cost of another line.
    Split,
}

/// Columns that costs are made of.
#[derive(Debug)]
pub(super) struct Columns {
    kind: Column,
    bill_type: Column,
    operation: Column,
    usage_type: Column,
    usage: Column,
    cost: Column,
    net_cost: Column,
    rate: Column,
    list_cost: Column,
    list_rate: Column,
    reservation: Commitment,
    reservation_unused: [[Column; 2]; 2],
    savings_plan: Commitment,
    savings_plan_total: Column,
    savings_plan_used: Column,
    split_cost: Column,
    split_unused: Column,
    split_parent: Column,
}

/// Columns of a kind of commitment.
#[derive(Debug)]
struct Commitment {
    id: Column,
    effective: Column,
    net_effective: Column,
}

impl Columns {
    pub(super) fn new(cost: Column, header: &Header) -> Self {
        let find = |key: &str| header.column(&[key]);
        Self {
            kind: find("lineitemlineitemtype"),
            bill_type: find("billbilltype"),
            operation: find("lineitemoperation"),
            usage_type: find("lineitemusagetype"),
            usage: find("lineitemusageamount"),
            cost,
            net_cost: find("lineitemnetunblendedcost"),
            rate: find("lineitemunblendedrate"),
            list_cost: find("pricingpublicondemandcost"),
            list_rate: find("pricingpublicondemandrate"),
            reservation: Commitment {
                id: find("reservationreservationarn"),
                effective: find("reservationeffectivecost"),
                net_effective: find("reservationneteffectivecost"),
            },
            reservation_unused: [
                [
                    find("reservationnetunusedamortizedupfrontfeeforbillingperiod"),
                    find("reservationunusedamortizedupfrontfeeforbillingperiod"),
                ],
                [find("reservationnetunusedrecurringfee"), find("reservationunusedrecurringfee")],
            ],
            savings_plan: Commitment {
                id: find("savingsplansavingsplanarn"),
                effective: find("savingsplansavingsplaneffectivecost"),
                net_effective: find("savingsplannetsavingsplaneffectivecost"),
            },
            savings_plan_total: find("savingsplantotalcommitmenttodate"),
            savings_plan_used: find("savingsplanusedcommitment"),
            split_cost: find("splitlineitemsplitcost"),
            split_unused: find("splitlineitemunusedcost"),
            split_parent: find("splitlineitemparentresourceid"),
        }
    }

    /// Columns that are wholly in columns of FOCUS.
    pub(super) fn placed(&self) -> impl Iterator<Item = usize> {
        let columns = [
            &self.usage,
            &self.cost,
            &self.rate,
            &self.list_cost,
            &self.list_rate,
            &self.reservation.id,
            &self.savings_plan.id,
        ];
        columns.into_iter().filter_map(|column| column.slot)
    }

    pub(super) fn kind(&self, record: &Record<'_>) -> Kind {
        let is_split = matches!(self.operation.of(record), "EKSPod-EC2" | "ECSTask-EC2");
        if is_split || !self.split_parent.of(record).is_empty() {
            return Kind::Split;
        }
        match self.kind.of(record) {
            "DiscountedUsage" => Kind::ReservationCovered,
            "SavingsPlanCoveredUsage" => Kind::SavingsPlanCovered,
            "SavingsPlanNegation" => Kind::SavingsPlanNegation,
            "SavingsPlanRecurringFee" => Kind::SavingsPlanRecurringFee,
            "SavingsPlanUpfrontFee" => Kind::SavingsPlanUpfrontFee,
            "RIFee" => Kind::ReservationFee,
            "Fee" => Kind::Fee,
            "Tax" => Kind::Tax,
            "Credit" => Kind::Credit,
            "Refund" => Kind::Refund,
            other if other.ends_with("Discount") => Kind::Discount,
            _ => Kind::Usage,
        }
    }

    pub(super) fn usage(&self, record: &Record<'_>, row: &mut Row<'_>) -> Result<Option<i128>, Fault> {
        row.count(self.usage.of(record), &self.usage.name)
    }

    /// Fills the costs and what they are for. What is left of a commitment is returned, if anything is.
    pub(super) fn charge<'a>(
        &self,
        kind: Kind,
        record: &Record<'a>,
        row: &mut Row<'a>,
        sink: &mut Sink,
    ) -> Result<Option<i128>, Fault> {
        let delivered = row.delivered(self.cost.of(record), &self.cost.name)?;
        let net = row.money(self.net_cost.of(record), &self.net_cost.name)?;
        let billed = net.unwrap_or(delivered);
        let list = row.money(self.list_cost.of(record), &self.list_cost.name)?;
        if billed != delivered
            && !matches!(kind, Kind::Discount | Kind::SavingsPlanCovered | Kind::SavingsPlanNegation | Kind::Split)
        {
            row.adjust(Adjustment::NetCost, billed.saturating_sub(delivered));
        }
        self.categorise(kind, record, row);
        match kind {
            Kind::Usage => {
                row.costs(billed, billed, list.unwrap_or(delivered), delivered);
                self.prices(record, row)?;
            }
            Kind::ReservationCovered => {
                let effective = self.reservation.effective(record, row, sink)?;
                let list = list.unwrap_or(delivered);
                // What it would have cost without the reservation is nowhere but in the list price.
                self.covered(
                    record,
                    row,
                    [Some(billed), effective, Some(list), Some(if delivered == 0 { list } else { delivered })],
                )?;
                row.adjust(Adjustment::ReservationCovered, effective.unwrap_or_default().saturating_sub(billed));
            }
            Kind::SavingsPlanCovered => {
                let effective = self.savings_plan.effective(record, row, sink)?;
                self.covered(record, row, [Some(0), effective, Some(list.unwrap_or(delivered)), Some(delivered)])?;
                row.adjust(Adjustment::SavingsPlanCovered, effective.unwrap_or_default().saturating_sub(delivered));
            }
            Kind::SavingsPlanNegation => {
                row.costs(0, 0, 0, 0);
                row.adjust(Adjustment::SavingsPlanNegation, -delivered);
            }
            Kind::SavingsPlanRecurringFee | Kind::SavingsPlanUpfrontFee => {
                row.costs(billed, 0, billed, billed);
                row.adjust(Adjustment::SavingsPlanFee, -billed);
            }
            Kind::ReservationFee => {
                row.costs(billed, 0, billed, billed);
                row.adjust(Adjustment::ReservationFee, -billed);
            }
            Kind::Fee | Kind::Refund => self.fee(record, billed, row),
            Kind::Tax | Kind::Credit => row.costs(billed, billed, billed, billed),
            Kind::Discount if net.is_some() => {
                row.costs(0, 0, 0, 0);
                row.adjust(Adjustment::DiscountInNetCost, -delivered);
            }
            Kind::Discount => {
                if self.net_cost.slot.is_some() {
                    sink.tally.find(DISCOUNT_WITHOUT_NET, || self.kind.of(record).to_owned());
                }
                row.costs(billed, billed, 0, billed);
            }
            Kind::Split => self.split(record, delivered, row)?,
        }
        self.unused(kind, record, row)
    }

    /// A fee or a refund: of a commitment it costs nothing itself.
    fn fee(&self, record: &Record<'_>, billed: i128, row: &mut Row<'_>) {
        let is_plan =
            !self.savings_plan.id.of(record).is_empty() || row.text(Text::ServiceName).contains("Savings Plans");
        let is_commitment = is_plan || !self.reservation.id.of(record).is_empty();
        row.costs(billed, if is_commitment { 0 } else { billed }, billed, billed);
        if is_commitment {
            row.adjust(if is_plan { Adjustment::SavingsPlanFee } else { Adjustment::ReservationFee }, -billed);
        }
    }

    fn covered(&self, record: &Record<'_>, row: &mut Row<'_>, costs: [Option<i128>; 4]) -> Result<(), Fault> {
        let columns = [Amount::BilledCost, Amount::EffectiveCost, Amount::ListCost, Amount::ContractedCost];
        for (column, cost) in columns.into_iter().zip(costs) {
            row.amounts[column as usize] = cost;
        }
        self.prices(record, row)
    }

    fn prices(&self, record: &Record<'_>, row: &mut Row<'_>) -> Result<(), Fault> {
        row.amounts[Amount::ListUnitPrice as usize] = row.money(self.list_rate.of(record), &self.list_rate.name)?;
        row.amounts[Amount::ContractedUnitPrice as usize] = row.money(self.rate.of(record), &self.rate.name)?;
        Ok(())
    }

    fn split(&self, record: &Record<'_>, delivered: i128, row: &mut Row<'_>) -> Result<(), Fault> {
        let share = row.money(self.split_cost.of(record), &self.split_cost.name)?;
        let unused = row.money(self.split_unused.of(record), &self.split_unused.name)?;
        row.costs(0, 0, 0, 0);
        row.split = Some(sum([share, unused], &self.split_cost.name)?);
        row.adjust(Adjustment::SplitCost, -delivered);
        Ok(())
    }

    /// What nothing used of the commitment that a fee is for.
    fn unused(&self, kind: Kind, record: &Record<'_>, row: &mut Row<'_>) -> Result<Option<i128>, Fault> {
        let unused = match kind {
            Kind::ReservationFee => {
                let [upfront, recurring] = &self.reservation_unused;
                let of =
                    |columns: &'_ [Column; 2]| columns.iter().find(|column| !column.of(record).is_empty()).cloned();
                let (upfront, recurring) = (of(upfront).unwrap_or_default(), of(recurring).unwrap_or_default());
                let amounts =
                    [row.money(upfront.of(record), &upfront.name)?, row.money(recurring.of(record), &recurring.name)?];
                sum(amounts, &recurring.name)?
            }
            Kind::SavingsPlanRecurringFee => {
                let total = row.money(self.savings_plan_total.of(record), &self.savings_plan_total.name)?;
                let used = row.money(self.savings_plan_used.of(record), &self.savings_plan_used.name)?;
                sum([total, used.map(|used| -used)], &self.savings_plan_total.name)?
            }
            _ => 0,
        };
        Ok((unused != 0).then_some(unused))
    }

    fn categorise<'a>(&self, kind: Kind, record: &Record<'a>, row: &mut Row<'a>) {
        let bill_type = self.bill_type.of(record);
        let is_once = matches!(bill_type, "Purchase" | "Refund") || kind == Kind::SavingsPlanUpfrontFee;
        let (category, frequency) = match kind {
            Kind::Fee | Kind::ReservationFee | Kind::SavingsPlanRecurringFee | Kind::SavingsPlanUpfrontFee => {
                (PURCHASE, if is_once { "One-Time" } else { "Recurring" })
            }
            Kind::Tax => ("Tax", "Usage-Based"),
            Kind::Credit => ("Credit", "One-Time"),
            Kind::Refund => (USAGE, "One-Time"),
            _ => (USAGE, "Usage-Based"),
        };
        let (reservation, plan) = (self.reservation.id.of(record), self.savings_plan.id.of(record));
        let is_covered =
            matches!(kind, Kind::ReservationCovered | Kind::SavingsPlanCovered | Kind::SavingsPlanNegation);
        let pricing = match kind {
            Kind::Tax => "",
            _ if is_covered => "Committed",
            _ if self.usage_type.of(record).contains("Spot") => "Dynamic",
            _ => "Standard",
        };
        row.set(Text::ChargeFrequency, frequency);
        row.set(Text::PricingCategory, pricing);
        let is_plan = !plan.is_empty();
        let id = if is_plan { plan } else { reservation };
        if !id.is_empty() && kind != Kind::Tax {
            row.set(Text::CommitmentDiscountId, id);
            row.set(Text::CommitmentDiscountCategory, if is_plan { "Spend" } else { USAGE });
            row.set(Text::CommitmentDiscountType, if is_plan { "Savings Plan" } else { "Reserved Instance" });
            row.set(Text::CommitmentDiscountStatus, if is_covered { "Used" } else { "" });
        }
        let is_refund_of_commitment = kind == Kind::Refund && !id.is_empty();
        row.set(Text::ChargeCategory, if is_refund_of_commitment { PURCHASE } else { category });
        if kind == Kind::Refund && (bill_type == "Refund" || is_late(row)) {
            row.set(Text::ChargeClass, "Correction");
        }
    }
}

impl Commitment {
    /// What usage costs that it covers: prepayments spread over what they cover.
    fn effective(&self, record: &Record<'_>, row: &mut Row<'_>, sink: &mut Sink) -> Result<Option<i128>, Fault> {
        let columns = [&self.net_effective, &self.effective];
        let Some(column) = columns.into_iter().find(|column| !column.of(record).is_empty()) else {
            sink.tally.find(EFFECTIVE_MISSING, || self.id.of(record).to_owned());
            return Ok(None);
        };
        row.money(column.of(record), &column.name)
    }
}

/// Was it charged for a month before the one that is billed?
fn is_late(row: &Row<'_>) -> bool {
    let month = |time: Time| row.times[time as usize].and_then(time::month);
    month(Time::ChargePeriodStart) < month(Time::BillingPeriodStart)
}

/// Makes the row of a fee that of what nothing used of it.
pub(super) fn unused(row: &mut Row<'_>, unused: i128) {
    row.derive(Adjustment::UnusedCommitment, unused);
    row.costs(0, unused, 0, 0);
    row.set(Text::ChargeCategory, USAGE);
    row.set(Text::ChargeFrequency, "Usage-Based");
    row.set(Text::PricingCategory, "Committed");
    row.set(Text::CommitmentDiscountStatus, "Unused");
    row.quantity(Quantity::PricingQuantity, None);
    row.quantity(Quantity::ConsumedQuantity, None);
    row.set(Text::PricingUnit, "");
}
