//! What a line of AWS' report costs, by its type.
//!
//! Called by `aws` for each record. Commitments are the hard part: usage they cover is billed by their fees, and costs what was prepaid for
//! it; a fee costs nothing itself, but what nothing used of it is a row of ours. Over the time a commitment covers, what is billed is what
//! it costs.
//!
//! Invariants: every cost but the plain one has an adjustment. Spec: <https://docs.aws.amazon.com/cur/latest/userguide/Lineitem-columns.html>

use super::commitment::{self, Commitments};
use crate::{
    columns::{Amount, Text, Time},
    extras,
    record::{Column, Header, Record},
    row::{Adjustment, Fault, Row, sum},
    sink::Sink,
    time,
};

pub(super) const USAGE: &str = "Usage";
const PURCHASE: &str = "Purchase";
/// Code of the finding that a discount may be counted twice, in itself and in net costs.
const DISCOUNT_WITHOUT_NET: &str = "aws-discount-without-net-cost";
/// Code of the finding that a charge has no list price, as of the marketplace: what it costs stands for it.
const LIST_MISSING: &str = "aws-list-cost-missing";

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
    /// Its name among columns without a place.
    usage_kept: String,
    cost: Column,
    net_cost: Column,
    rate: [Column; 2],
    list_cost: Column,
    list_rate: Column,
    commitments: Commitments,
    split_cost: [Column; 2],
    split_unused: [Column; 2],
    split_parent: Column,
}

impl Columns {
    pub(super) fn new(cost: Column, header: &Header) -> Self {
        let find = |key: &str| header.column(&[key]);
        Self {
            kind: find("lineitemlineitemtype"),
            bill_type: find("billbilltype"),
            operation: find("lineitemoperation"),
            usage_type: find("lineitemusagetype"),
            usage_kept: extras::extra_name(&find("lineitemusageamount").name),
            usage: find("lineitemusageamount"),
            cost,
            net_cost: find("lineitemnetunblendedcost"),
            rate: [find("lineitemnetunblendedrate"), find("lineitemunblendedrate")],
            list_cost: find("pricingpublicondemandcost"),
            list_rate: find("pricingpublicondemandrate"),
            commitments: Commitments::new(header),
            split_cost: [find("splitlineitemnetsplitcost"), find("splitlineitemsplitcost")],
            split_unused: [find("splitlineitemnetunusedcost"), find("splitlineitemunusedcost")],
            split_parent: find("splitlineitemparentresourceid"),
        }
    }

    /// Columns that are wholly in columns of FOCUS.
    pub(super) fn placed(&self) -> impl Iterator<Item = usize> {
        let columns = [
            &self.usage,
            &self.cost,
            // Of two rates the net one has the place.
            self.rate.iter().find(|rate| rate.slot.is_some()).unwrap_or(&self.rate[1]),
            &self.list_cost,
            &self.list_rate,
            &self.commitments.reservation.id,
            &self.commitments.savings_plan.id,
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

    /// How much was used. What a negation has is that of the usage it is about once more, whose row has it: it is kept beside the row.
    pub(super) fn usage<'a>(
        &'a self,
        kind: Kind,
        record: &Record<'a>,
        row: &mut Row<'a>,
    ) -> Result<Option<i128>, Fault> {
        let text = self.usage.of(record);
        let usage = row.count(text, &self.usage.name)?;
        if kind != Kind::SavingsPlanNegation || usage.is_none_or(|usage| usage == 0) {
            return Ok(usage);
        }
        extras::insert(&mut row.extras, &self.usage_kept, text);
        Ok(Some(0))
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
        // Mostly it is the same text.
        let list = match self.list_cost.of(record) {
            text if text == self.cost.of(record) && row.rounded == 0 => Some(delivered),
            text => row.money(text, &self.list_cost.name)?,
        };
        let list = if list == Some(0) && delivered != 0 { None } else { list };
        if billed != delivered
            && !matches!(kind, Kind::Discount | Kind::SavingsPlanCovered | Kind::SavingsPlanNegation | Kind::Split)
        {
            row.adjust(Adjustment::NetCost, billed.saturating_sub(delivered));
        }
        self.categorise(kind, record, row);
        match kind {
            Kind::Usage => {
                if list.is_none() && self.list_cost.slot.is_some() {
                    sink.tally.find(LIST_MISSING, || row.text(Text::ServiceName).to_owned());
                }
                row.costs(billed, billed, list.unwrap_or(delivered), billed);
                self.prices(record, row)?;
            }
            Kind::ReservationCovered => {
                let effective = self.commitments.reservation.effective(record, row, sink)?;
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
                let effective = self.commitments.savings_plan.effective(record, row, sink)?;
                // Of covered usage a net cost of nothing says that the plan pays for it, not what it would cost without one.
                let contracted = if billed == 0 { delivered } else { billed };
                self.covered(record, row, [Some(0), effective, Some(list.unwrap_or(delivered)), Some(contracted)])?;
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
        let unused = match kind {
            Kind::ReservationFee => self.commitments.unused_reservation(record, row)?,
            Kind::SavingsPlanRecurringFee => self.commitments.unused_plan(record, row)?,
            _ => 0,
        };
        Ok((unused != 0).then_some(unused))
    }

    /// Is it of a savings plan? Fees and refunds of plans may lack the plan's name.
    fn is_of_plan(&self, record: &Record<'_>, row: &Row<'_>) -> bool {
        !self.commitments.savings_plan.id.of(record).is_empty() || row.text(Text::ServiceName).contains("Savings Plans")
    }

    /// A fee or a refund: of a commitment it costs nothing itself.
    fn fee(&self, record: &Record<'_>, billed: i128, row: &mut Row<'_>) {
        let is_plan = self.is_of_plan(record, row);
        let is_commitment = is_plan || !self.commitments.reservation.id.of(record).is_empty();
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
        row.amounts[Amount::ContractedUnitPrice as usize] = commitment::first(&self.rate, record, row)?;
        Ok(())
    }

    fn split(&self, record: &Record<'_>, delivered: i128, row: &mut Row<'_>) -> Result<(), Fault> {
        let share = commitment::first(&self.split_cost, record, row)?;
        let unused = commitment::first(&self.split_unused, record, row)?;
        row.costs(0, 0, 0, 0);
        row.split = Some(sum([share, unused], &self.split_cost[1].name)?);
        row.adjust(Adjustment::SplitCost, -delivered);
        Ok(())
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
        let plan = self.commitments.savings_plan.id.of(record);
        let reservation = self.commitments.reservation.id.of(record);
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
        let is_refund_of_commitment = kind == Kind::Refund && (!id.is_empty() || self.is_of_plan(record, row));
        row.set(Text::ChargeCategory, if is_refund_of_commitment { PURCHASE } else { category });
        if kind == Kind::Refund && (bill_type == "Refund" || is_late(row)) {
            row.set(Text::ChargeClass, "Correction");
        }
    }
}

/// Was it charged for a month before the one that is billed?
fn is_late(row: &Row<'_>) -> bool {
    let month = |time: Time| row.times[time as usize].and_then(time::month);
    month(Time::ChargePeriodStart) < month(Time::BillingPeriodStart)
}
