//! What columns of one row say of each other, as a table: which test, on which column, in which rows, from which version.
//!
//! Read when a checker is made, which leaves out rules whose columns are not there. Each row is known by the set of its columns that are
//! null and by the flags of its values, so that most rules cost a few comparisons of bits.
//!
//! Not here: what one column says alone (`columns`).

use std::fmt;

use super::{
    Level,
    columns::Column,
    lists::{
        ADJUSTMENT, CAPACITY_UNUSED, COMMITTED, CORRECTION, CREDIT, PURCHASE, TAX, UNUSED, USAGE, USAGE_BASED, USED,
    },
};

/// A rule about the columns of one row.
#[derive(Debug)]
pub(super) struct RowRule {
    pub id: &'static str,
    pub column: Column,
    pub test: Test,
    pub when: When,
    pub level: Level,
    /// Versions it is of, a bit each, as far as they have the columns.
    pub versions: u8,
}

/// What holds for the column of a rule.
#[derive(Clone, Copy, Debug)]
pub(super) enum Test {
    /// It is null.
    Null,
    /// It is not null.
    Given,
    /// It has the value of the flag.
    Is(u32),
    /// It has another value.
    IsNot(u32),
    /// It is 0.
    Zero,
    /// It is a price times a quantity.
    Product(Column, Column),
    /// It is the same amount as another.
    Same(Column),
    /// It is earlier than another.
    Before(Column),
    /// It is the begin of a month.
    MonthStart,
    /// Each of its values comes with one value of another column, in the whole file.
    One(Column),
    /// It is a subcategory of the category in another column.
    Below(Column),
}

/// Rows that a rule is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct When {
    /// All of these flags, one of these at least, none of these.
    pub all: u32,
    pub any: u32,
    pub none: u32,
    /// All of these columns are null, and none of these.
    pub null: u128,
    pub given: u128,
}

const ALWAYS: When = When { all: 0, any: 0, none: 0, null: 0, given: 0 };
/// Rows that have a price.
const PRICED: When = When { any: USAGE | PURCHASE, none: CORRECTION, ..ALWAYS };
const TAXES: When = When { all: TAX, ..ALWAYS };
const EVERY: u8 = 0b1_1111;
const FROM_1_3: u8 = 0b1_1000;
const FROM_1_4: u8 = 0b1_0000;

const fn without(column: Column) -> When {
    When { null: column.bit(), ..ALWAYS }
}

const fn with(column: Column) -> When {
    When { given: column.bit(), ..ALWAYS }
}

/// Rows of a kind that have a column.
const fn and(when: When, column: Column) -> When {
    When { given: when.given | column.bit(), ..when }
}

macro_rules! rules {
    ($($level:ident $versions:ident $column:ident $name:literal $test:expr, $when:expr;)*) => {
        &[$(RowRule {
            id: concat!("focus-", stringify!($column), "-", $name),
            column: Column::$column,
            test: $test,
            when: $when,
            level: Level::$level,
            versions: $versions,
        }),*]
    };
}

use Column::*;
use Test::{Before, Below, Given, Is, IsNot, MonthStart, Null, One, Product, Same, Zero};

pub(super) const ROW_RULES: &[RowRule] = rules! {
    // Commitments: what is said of one has its id.
    Must EVERY CommitmentDiscountCategory "null-without-id" Null, without(CommitmentDiscountId);
    Must EVERY CommitmentDiscountCategory "given-with-id" Given, with(CommitmentDiscountId);
    Must EVERY CommitmentDiscountName "null-without-id" Null, without(CommitmentDiscountId);
    Must EVERY CommitmentDiscountType "null-without-id" Null, without(CommitmentDiscountId);
    Must EVERY CommitmentDiscountType "given-with-id" Given, with(CommitmentDiscountId);
    Must EVERY CommitmentDiscountStatus "null-without-id" Null, without(CommitmentDiscountId);
    Must EVERY CommitmentDiscountStatus "given-for-usage" Given, When { all: USAGE, ..with(CommitmentDiscountId) };
    Must EVERY CommitmentDiscountQuantity "null-without-id" Null, without(CommitmentDiscountId);
    Must EVERY CommitmentDiscountQuantity "null-for-others" Null, When { any: TAX | CREDIT | ADJUSTMENT, ..ALWAYS };
    Must EVERY CommitmentDiscountQuantity "given-with-id" Given, and(PRICED, CommitmentDiscountId);
    Must FROM_1_3 CommitmentDiscountQuantity "null-without-price" Null, without(SkuPriceId);
    Must EVERY CommitmentDiscountUnit "null-without-quantity" Null, without(CommitmentDiscountQuantity);
    Must EVERY CommitmentDiscountUnit "given-with-quantity" Given, with(CommitmentDiscountQuantity);
    Must EVERY CapacityReservationStatus "null-without-id" Null, without(CapacityReservationId);
    Must EVERY CapacityReservationStatus "given-for-usage" Given, When { all: USAGE, ..with(CapacityReservationId) };
    Must EVERY CapacityReservationId "given-if-unused" Given, When { all: CAPACITY_UNUSED, ..ALWAYS };
    Must EVERY PricingCategory "committed" Is(COMMITTED), When { all: USAGE, ..with(CommitmentDiscountId) };

    // Quantities and units.
    Must EVERY ConsumedQuantity "null-for-others" Null, When { any: PURCHASE | TAX | CREDIT | ADJUSTMENT, ..ALWAYS };
    Must EVERY ConsumedQuantity "null-if-unused" Null, When { all: UNUSED, ..ALWAYS };
    Must EVERY ConsumedQuantity "given-for-usage" Given, When { all: USAGE, none: UNUSED | CORRECTION, ..ALWAYS };
    Must FROM_1_3 ConsumedQuantity "null-without-price" Null, without(SkuPriceId);
    Must EVERY ConsumedUnit "null-without-quantity" Null, without(ConsumedQuantity);
    Must EVERY ConsumedUnit "given-with-quantity" Given, with(ConsumedQuantity);
    Must EVERY PricingQuantity "null-for-tax" Null, TAXES;
    Must EVERY PricingQuantity "given-for-charges" Given, PRICED;
    Must FROM_1_3 PricingQuantity "null-without-price" Null, without(SkuPriceId);
    Must EVERY PricingUnit "null-without-quantity" Null, without(PricingQuantity);
    Must EVERY PricingUnit "given-with-quantity" Given, with(PricingQuantity);

    // Prices.
    Must EVERY ListUnitPrice "null-for-tax" Null, TAXES;
    Must EVERY ListUnitPrice "given-for-charges" Given, PRICED;
    Must FROM_1_3 ListUnitPrice "null-without-price" Null, without(SkuPriceId);
    Must FROM_1_3 ListUnitPrice "given-with-price" Given, with(SkuPriceId);
    Must EVERY ContractedUnitPrice "null-for-tax" Null, TAXES;
    Must EVERY ContractedUnitPrice "given-for-charges" Given, PRICED;
    Must FROM_1_3 ContractedUnitPrice "null-without-price" Null, without(SkuPriceId);
    Must FROM_1_3 ContractedUnitPrice "given-with-price" Given, with(SkuPriceId);
    Must EVERY PricingCurrencyListUnitPrice "null-for-tax" Null, TAXES;
    Must EVERY PricingCurrencyListUnitPrice "given-for-charges" Given, PRICED;
    Must FROM_1_3 PricingCurrencyListUnitPrice "null-without-price" Null, without(SkuPriceId);
    Must FROM_1_3 PricingCurrencyListUnitPrice "given-with-price" Given, with(SkuPriceId);
    Must EVERY PricingCurrencyContractedUnitPrice "null-for-tax" Null, TAXES;
    Must EVERY PricingCurrencyContractedUnitPrice "given-for-charges" Given, PRICED;
    Must FROM_1_3 PricingCurrencyContractedUnitPrice "null-without-price" Null, without(SkuPriceId);
    Must FROM_1_3 PricingCurrencyContractedUnitPrice "given-with-price" Given, with(SkuPriceId);
    Must EVERY PricingCategory "null-for-tax" Null, TAXES;
    Must EVERY PricingCategory "given-for-charges" Given, PRICED;
    Must FROM_1_3 PricingCategory "null-without-price" Null, without(SkuPriceId);
    Must EVERY SkuId "null-for-tax" Null, TAXES;
    Must EVERY SkuId "given-for-charges" Given, PRICED;
    Must EVERY SkuPriceId "null-for-tax" Null, TAXES;
    Must EVERY SkuPriceId "given-for-charges" Given, PRICED;
    Must EVERY SkuPriceId "one-sku" One(SkuId), and(with(SkuId), SkuPriceId);
    Must EVERY SkuMeter "null-without-sku" Null, without(SkuId);
    Should EVERY SkuMeter "given-with-sku" Given, with(SkuId);
    Must EVERY SkuPriceDetails "null-without-price" Null, without(SkuPriceId);

    // What belongs together.
    Must EVERY ResourceName "null-without-id" Null, without(ResourceId);
    Should EVERY ResourceName "given-with-id" Given, with(ResourceId);
    Must EVERY ResourceType "null-without-id" Null, without(ResourceId);
    Must EVERY ResourceType "given-with-id" Given, with(ResourceId);
    Must EVERY RegionName "null-without-id" Null, without(RegionId);
    Must EVERY RegionName "given-with-id" Given, with(RegionId);
    Must EVERY SubAccountName "null-without-id" Null, without(SubAccountId);
    Must EVERY SubAccountName "given-with-id" Given, with(SubAccountId);
    Must EVERY SubAccountType "null-without-id" Null, without(SubAccountId);
    Must EVERY SubAccountType "given-with-id" Given, with(SubAccountId);
    Must EVERY AllocatedResourceName "null-without-id" Null, without(AllocatedResourceId);
    Must EVERY AllocatedResourceName "given-with-id" Given, with(AllocatedResourceId);
    Must EVERY ServiceName "one-category" One(ServiceCategory), and(with(ServiceCategory), ServiceName);
    Should EVERY ServiceName "one-subcategory" One(ServiceSubcategory), and(with(ServiceSubcategory), ServiceName);
    Must EVERY ServiceSubcategory "category" Below(ServiceCategory), and(with(ServiceCategory), ServiceSubcategory);
    Must EVERY ChargeFrequency "purchase" IsNot(USAGE_BASED), When { all: PURCHASE, ..ALWAYS };

    // Costs.
    Must EVERY ListCost "product" Product(ListUnitPrice, PricingQuantity),
        When { none: CORRECTION, given: ListCost.bit() | ListUnitPrice.bit() | PricingQuantity.bit(), ..ALWAYS };
    Must EVERY ContractedCost "product" Product(ContractedUnitPrice, PricingQuantity),
        When { none: CORRECTION, given: ContractedCost.bit() | ContractedUnitPrice.bit() | PricingQuantity.bit(), ..ALWAYS };
    Must EVERY EffectiveCost "zero-if-covering" Zero,
        When { all: PURCHASE, given: EffectiveCost.bit() | CommitmentDiscountId.bit(), ..ALWAYS };
    Should EVERY BilledCost "zero-if-covered" Zero,
        When { all: USAGE, any: USED | UNUSED, given: BilledCost.bit() | CommitmentDiscountId.bit(), ..ALWAYS };
    Should EVERY EffectiveCost "credit" Same(BilledCost),
        When { all: CREDIT, given: EffectiveCost.bit() | BilledCost.bit(), ..ALWAYS };
    Should FROM_1_4 EffectiveCost "tax" Same(BilledCost),
        When { all: TAX, given: EffectiveCost.bit() | BilledCost.bit(), ..ALWAYS };

    // Times.
    Must EVERY ChargePeriodStart "before-end" Before(ChargePeriodEnd), and(with(ChargePeriodStart), ChargePeriodEnd);
    Must EVERY BillingPeriodStart "before-end" Before(BillingPeriodEnd), and(with(BillingPeriodStart), BillingPeriodEnd);
    Should EVERY BillingPeriodStart "month" MonthStart, with(BillingPeriodStart);
    Should EVERY BillingPeriodEnd "month" MonthStart, with(BillingPeriodEnd);
};

/// Flags with the columns and values they stand for.
const FLAGS: [(u32, &str, &str); 11] = [
    (USAGE, "ChargeCategory", "Usage"),
    (PURCHASE, "ChargeCategory", "Purchase"),
    (TAX, "ChargeCategory", "Tax"),
    (CREDIT, "ChargeCategory", "Credit"),
    (ADJUSTMENT, "ChargeCategory", "Adjustment"),
    (CORRECTION, "ChargeClass", "Correction"),
    (USED, "CommitmentDiscountStatus", "Used"),
    (UNUSED, "CommitmentDiscountStatus", "Unused"),
    (CAPACITY_UNUSED, "CapacityReservationStatus", "Unused"),
    (COMMITTED, "PricingCategory", "Committed"),
    (USAGE_BASED, "ChargeFrequency", "Usage-Based"),
];

impl RowRule {
    /// Columns without which the rule says nothing: its own, and those it compares with. A class that is not there is none.
    pub(super) fn needs(&self) -> u128 {
        let others = self.test.others().into_iter().fold(0, |set, column| set | column.bit());
        self.column.bit() | others | self.when.null | self.when.given
    }

    /// Versions that have all of its columns, a bit each.
    pub(super) fn versions(&self) -> u8 {
        let needs = self.needs();
        let has = |facts: &&super::columns::Facts| needs & facts.column.bit() != 0;
        super::columns::COLUMNS.iter().filter(has).fold(self.versions, |versions, facts| versions & facts.versions())
    }

    /// The rule in words.
    pub(super) fn says(&self) -> String {
        let test = match self.test {
            Null => "is null".to_owned(),
            Given => "is not null".to_owned(),
            Is(flag) => format!("is {}", values(flag, " or ")),
            IsNot(flag) => format!("is not {}", values(flag, " or ")),
            Zero => "is 0".to_owned(),
            Product(price, quantity) => {
                format!("is {} times {}, but for 10^-8 or a millionth of it", price.name(), quantity.name())
            }
            Same(other) => format!("is {}, but for 10^-8 or a millionth of it", other.name()),
            Before(other) => format!("is before {}", other.name()),
            MonthStart => "is midnight at the begin of a month".to_owned(),
            One(other) => format!("has one {} in the whole file", other.name()),
            Below(other) => format!("is one of those of its {}", other.name()),
        };
        format!("{test}{}", self.when)
    }
}

impl Test {
    /// Columns that the column is compared with.
    pub(super) fn others(self) -> Vec<Column> {
        match self {
            Product(price, quantity) => vec![price, quantity],
            Same(other) | Before(other) | One(other) | Below(other) => vec![other],
            Null | Given | Is(_) | IsNot(_) | Zero | MonthStart => Vec::new(),
        }
    }
}

impl When {
    /// Is a row one of these?
    pub(super) fn holds(&self, flags: u32, nulls: u128) -> bool {
        flags & self.all == self.all
            && (self.any == 0 || flags & self.any != 0)
            && flags & self.none == 0
            && nulls & self.null == self.null
            && nulls & self.given == 0
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (flags, verb) in [(self.all, "is"), (self.any, "is"), (self.none, "is not")] {
            let mut columns: Vec<_> = FLAGS.iter().filter(|flag| flags & flag.0 != 0).map(|flag| flag.1).collect();
            columns.dedup();
            for column in columns {
                let of: u32 = FLAGS.iter().filter(|flag| flag.1 == column).map(|flag| flag.0).sum();
                parts.push(format!("{column} {verb} {}", values(flags & of, " or ")));
            }
        }
        for (set, text) in [(self.null, "is null"), (self.given, "is not null")] {
            let columns = super::columns::COLUMNS.iter().filter(|facts| set & facts.column.bit() != 0);
            parts.extend(columns.map(|facts| format!("{} {text}", facts.name)));
        }
        if parts.is_empty() { Ok(()) } else { write!(f, ", where {}", parts.join(" and ")) }
    }
}

/// Values that flags stand for.
fn values(flags: u32, between: &str) -> String {
    let values: Vec<_> = FLAGS.iter().filter(|flag| flags & flag.0 != 0).map(|flag| flag.2).collect();
    values.join(between)
}
