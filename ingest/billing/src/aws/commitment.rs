//! What AWS' commitments cost: the share of a prepayment and fee in the usage they cover, and what nothing used of them.
//!
//! Called by `line` for usage that is covered, and for fees. With negotiated discounts everything is taken net of them, so that over a
//! month what a commitment's rows cost is what is paid for it.
//!
//! Invariants: a net amount counts before one at list prices. Not here: what a line of which type is billed.
//! Spec: <https://docs.aws.amazon.com/cur/latest/userguide/table-dictionary-cur2-savings-plan.html>

use crate::{
    columns::{Quantity, Text},
    decimal,
    record::{Column, Header, Record},
    row::{Adjustment, Fault, Row, sum},
    sink::Sink,
};

use super::line::USAGE;

/// Code of the finding that covered usage has no effective cost: the report was made without it.
const EFFECTIVE_MISSING: &str = "aws-effective-cost-missing";

/// A column net of discounts, and the one at list prices that is there without any.
type NetOrList = [Column; 2];

/// Columns of both kinds of commitments.
#[derive(Debug)]
pub(super) struct Commitments {
    pub reservation: Commitment,
    pub savings_plan: Commitment,
    /// Prepayment and fee for what was not used of a reservation.
    reservation_unused: [NetOrList; 2],
    plan_total: Column,
    plan_used: Column,
    /// Prepayment and fee for the time of a line of a plan.
    plan_paid: [NetOrList; 2],
}

/// Columns of a kind of commitment.
#[derive(Debug)]
pub(super) struct Commitment {
    pub id: Column,
    effective: NetOrList,
}

impl Commitments {
    pub(super) fn new(header: &Header) -> Self {
        let find = |key: &str| header.column(&[key]);
        Self {
            reservation: Commitment {
                id: find("reservationreservationarn"),
                effective: [find("reservationneteffectivecost"), find("reservationeffectivecost")],
            },
            savings_plan: Commitment {
                id: find("savingsplansavingsplanarn"),
                effective: [
                    find("savingsplannetsavingsplaneffectivecost"),
                    find("savingsplansavingsplaneffectivecost"),
                ],
            },
            reservation_unused: [
                [
                    find("reservationnetunusedamortizedupfrontfeeforbillingperiod"),
                    find("reservationunusedamortizedupfrontfeeforbillingperiod"),
                ],
                [find("reservationnetunusedrecurringfee"), find("reservationunusedrecurringfee")],
            ],
            plan_total: find("savingsplantotalcommitmenttodate"),
            plan_used: find("savingsplanusedcommitment"),
            plan_paid: [
                [
                    find("savingsplannetamortizedupfrontcommitmentforbillingperiod"),
                    find("savingsplanamortizedupfrontcommitmentforbillingperiod"),
                ],
                [
                    find("savingsplannetrecurringcommitmentforbillingperiod"),
                    find("savingsplanrecurringcommitmentforbillingperiod"),
                ],
            ],
        }
    }

    /// What nothing used of the reservation that a fee is for.
    pub(super) fn unused_reservation(&self, record: &Record<'_>, row: &mut Row<'_>) -> Result<i128, Fault> {
        let [upfront, recurring] = &self.reservation_unused;
        let amounts = [first(upfront, record, row)?, first(recurring, record, row)?];
        sum(amounts, &recurring[1].name)
    }

    /// What nothing used of the savings plan that a fee is for: of what is paid the part that is not used of the commitment, which is stated
    /// before discounts.
    pub(super) fn unused_plan(&self, record: &Record<'_>, row: &mut Row<'_>) -> Result<i128, Fault> {
        let total = row.money(self.plan_total.of(record), &self.plan_total.name)?;
        let used = row.money(self.plan_used.of(record), &self.plan_used.name)?;
        let unused = sum([total, used.map(|used| -used)], &self.plan_total.name)?;
        let [upfront, recurring] = &self.plan_paid;
        if unused == 0 || (upfront[0].of(record).is_empty() && recurring[0].of(record).is_empty()) {
            return Ok(unused);
        }
        let net = sum([first(upfront, record, row)?, first(recurring, record, row)?], &recurring[0].name)?;
        let list = [read(&upfront[1], record, row)?, read(&recurring[1], record, row)?];
        match sum(list, &recurring[1].name)? {
            0 => Ok(unused),
            list => decimal::share(unused, net, list).map_err(|reason| Fault::new(recurring[0].name.clone(), reason)),
        }
    }
}

impl Commitment {
    /// What usage costs that it covers: prepayments spread over what they cover.
    pub(super) fn effective(
        &self,
        record: &Record<'_>,
        row: &mut Row<'_>,
        sink: &mut Sink,
    ) -> Result<Option<i128>, Fault> {
        let effective = first(&self.effective, record, row)?;
        if effective.is_none() {
            sink.tally.find(EFFECTIVE_MISSING, || self.id.of(record).to_owned());
        }
        Ok(effective)
    }
}

/// The first amount there is.
pub(super) fn first(columns: &NetOrList, record: &Record<'_>, row: &mut Row<'_>) -> Result<Option<i128>, Fault> {
    let [net, list] = columns;
    if net.of(record).is_empty() { read(list, record, row) } else { read(net, record, row) }
}

fn read(column: &Column, record: &Record<'_>, row: &mut Row<'_>) -> Result<Option<i128>, Fault> {
    row.money(column.of(record), &column.name)
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
