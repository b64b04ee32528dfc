//! A row of `costs` before it is one: what a mapping fills from a record, and what it changed against the record as delivered.
//!
//! Filled by the mappings, taken by the sink. Texts are borrowed from the record; an empty one is null.
//!
//! Invariants: every cost that differs from what a naive reading of the line gives has an adjustment that says why.

use std::borrow::Cow;

use crate::{
    columns::{Amount, Quantity, Text, Time},
    decimal::{self, MONEY_SCALE, Parsed, QUANTITY_SCALE},
    extras::Extras,
};

/// A row.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    pub texts: [&'a str; Text::COUNT],
    pub amounts: [Option<i128>; Amount::COUNT],
    pub quantities: [Option<i128>; Quantity::COUNT],
    pub times: [Option<i64>; Time::COUNT],
    pub currency: &'a str,
    /// The cost as the line has it.
    pub delivered: Parsed,
    /// Credits within the line, which are no part of its cost as delivered.
    pub credits: i128,
    pub split: Option<i128>,
    pub is_derived: bool,
    pub tags: Entries<'a>,
    pub allocated_tags: Entries<'a>,
    /// Columns without a place.
    pub kept: Option<&'a Extras>,
    /// Entries beside them.
    pub extras: Entries<'a>,
    /// What was changed, and by how much the cost that it is about.
    pub adjustments: Vec<(Adjustment, i128)>,
    /// Values that had more decimals than are kept.
    pub rounded: u64,
}

/// Keys and values by key; a key is there once.
pub(crate) type Entries<'a> = Vec<(&'a str, &'a str)>;

/// Why a row cannot be written: the column, and what is wrong with it.
#[derive(Debug)]
pub(crate) struct Fault {
    pub column: Cow<'static, str>,
    pub reason: Cow<'static, str>,
}

impl Fault {
    pub(crate) fn new(column: impl Into<Cow<'static, str>>, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { column: column.into(), reason: reason.into() }
    }
}

/// Adds amounts, as long as the sum is one that fits.
pub(crate) fn sum(amounts: impl IntoIterator<Item = Option<i128>>, column: &str) -> Result<i128, Fault> {
    let sum = amounts.into_iter().flatten().try_fold(0_i128, i128::checked_add);
    let sum = sum.filter(|sum| sum.unsigned_abs() < decimal::LIMIT);
    sum.ok_or_else(|| Fault::new(column.to_owned(), "too large: the sum has more than 38 digits"))
}

impl<'a> Row<'a> {
    pub(crate) fn new() -> Self {
        Self {
            texts: [""; Text::COUNT],
            amounts: [None; Amount::COUNT],
            quantities: [None; Quantity::COUNT],
            times: [None; Time::COUNT],
            currency: "",
            delivered: Parsed::default(),
            credits: 0,
            split: None,
            is_derived: false,
            tags: Vec::new(),
            allocated_tags: Vec::new(),
            kept: None,
            extras: Vec::new(),
            adjustments: Vec::new(),
            rounded: 0,
        }
    }

    pub(crate) fn set(&mut self, column: Text, text: &'a str) {
        self.texts[column as usize] = text;
    }

    pub(crate) fn text(&self, column: Text) -> &'a str {
        self.texts[column as usize]
    }

    pub(crate) fn amount(&mut self, column: Amount, value: i128) {
        self.amounts[column as usize] = Some(value);
    }

    pub(crate) fn quantity(&mut self, column: Quantity, value: Option<i128>) {
        self.quantities[column as usize] = value;
    }

    pub(crate) fn time(&mut self, column: Time, us: i64) {
        self.times[column as usize] = Some(us);
    }

    /// Sets all four costs.
    pub(crate) fn costs(&mut self, billed: i128, effective: i128, list: i128, contracted: i128) {
        self.amount(Amount::BilledCost, billed);
        self.amount(Amount::EffectiveCost, effective);
        self.amount(Amount::ListCost, list);
        self.amount(Amount::ContractedCost, contracted);
    }

    pub(crate) fn adjust(&mut self, code: Adjustment, by: i128) {
        self.adjustments.push((code, by));
    }

    /// Reads an amount of money; none if the text is empty.
    pub(crate) fn money(&mut self, text: &str, column: &str) -> Result<Option<i128>, Fault> {
        self.number(text, column, MONEY_SCALE)
    }

    /// Reads a quantity; none if the text is empty.
    pub(crate) fn count(&mut self, text: &str, column: &str) -> Result<Option<i128>, Fault> {
        self.number(text, column, QUANTITY_SCALE)
    }

    fn number(&mut self, text: &str, column: &str, scale: u32) -> Result<Option<i128>, Fault> {
        if text.is_empty() {
            return Ok(None);
        }
        let parsed = decimal::parse(text, scale).map_err(|reason| Fault::new(column.to_owned(), reason))?;
        self.rounded += u64::from(parsed.lost != 0);
        Ok(Some(parsed.value))
    }

    /// Reads the cost that the line is about.
    pub(crate) fn delivered(&mut self, text: &str, column: &str) -> Result<i128, Fault> {
        if text.is_empty() {
            return Err(Fault::new(column.to_owned(), "the cost is missing"));
        }
        self.delivered = decimal::parse(text, MONEY_SCALE).map_err(|reason| Fault::new(column.to_owned(), reason))?;
        self.rounded += u64::from(self.delivered.lost != 0);
        Ok(self.delivered.value)
    }

    /// Makes it a row of ours beside the one that was written: nothing of it was delivered.
    pub(crate) fn derive(&mut self, code: Adjustment, by: i128) {
        self.is_derived = true;
        self.delivered = Parsed::default();
        (self.credits, self.rounded, self.split) = (0, 0, None);
        self.adjustments.clear();
        self.adjust(code, by);
    }
}

/// Declares the adjustments with their codes.
macro_rules! adjustments {
    ($($(#[$about:meta])* $name:ident = $code:literal)*) => {
        /// What was changed against a line as delivered.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Adjustment { $($(#[$about])* $name),* }

        impl Adjustment {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The code in `x_Adjustments`.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code),* }
            }
        }
    };
}

adjustments! {
    /// The currency is that of the options; the sum is what is billed.
    AssumedCurrency = "assumed-billing-currency"
    /// The line has no charge period: it begins with the billing period. The sum is what is billed.
    ChargePeriodOfBilling = "charge-period-from-billing-period"
    /// AWS: usage that a savings plan covers is billed by the plan's fee. The sum is effective less delivered cost.
    SavingsPlanCovered = "savings-plan-covered"
    /// AWS: the line that takes back what covered usage would cost. The sum is billed less delivered cost.
    SavingsPlanNegation = "savings-plan-negation"
    /// AWS: the fee of a savings plan, whose effective cost is that of what it covers. The sum is effective less billed cost.
    SavingsPlanFee = "savings-plan-fee"
    /// AWS: usage that a reservation covers. The sum is effective less billed cost.
    ReservationCovered = "reservation-covered"
    /// AWS: the fee of a reservation, whose effective cost is that of what it covers. The sum is effective less billed cost.
    ReservationFee = "reservation-fee"
    /// A row of ours: the part of a commitment that nothing used. The sum is its effective cost.
    UnusedCommitment = "unused-commitment"
    /// AWS: the line has a net cost, which discounts are already taken off. The sum is billed less delivered cost.
    NetCost = "net-cost"
    /// AWS: a discount that net costs of other lines already have. The sum is billed less delivered cost.
    DiscountInNetCost = "discount-in-net-cost"
    /// AWS: the share that a container has in the cost of another line. The sum is billed less delivered cost.
    SplitCost = "split-cost"
    /// Google: discounts within the line are taken off. The sum is that of the discounts.
    DiscountApplied = "discount-applied"
    /// Google: a row of ours for a credit within a line. The sum is the credit.
    CreditOfLine = "credit-of-line"
    /// Azure: usage that a commitment covers is billed by its purchase. The sum is billed less delivered cost.
    AzureCovered = "azure-covered-by-commitment"
    /// Azure: the unused part of a commitment, billed by its purchase. The sum is billed less delivered cost.
    AzureUnused = "azure-unused-commitment"
    /// Azure: the purchase of a commitment, whose effective cost is that of what it covers. The sum is effective less billed cost.
    AzurePurchase = "azure-commitment-purchase"
    /// Azure: the effective cost is in the amortized part of the export, which is not here. The sum is what is billed.
    AzureEffectiveUnknown = "azure-effective-cost-unknown"
    /// Manual: a row of ours for a charge of a line that recurs, after its first. The sum is what is billed.
    RecurringCharge = "recurring-charge"
}
