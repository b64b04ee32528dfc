//! The columns of FOCUS as a table: from which version each is, how strongly it is asked for, what it holds, and whether it may be null.
//!
//! Read when a checker is made for a header. The facts are those of the published column lists of 1.0 to 1.3, and of the working draft of
//! 1.4. Where the list allows nulls and a requirement forbids them (`PricingCurrency`), the requirement holds.
//!
//! Not here: what columns say of each other (`rows`).

use super::{
    Level, Rule, Version,
    features::Feature::{
        self, Always, CapacityReservations, Commitments, MeteredUsage, Other, PriceLists, PricingCategories,
        PricingCurrencies, Regions, Resources, SplitCosts, SubAccounts,
    },
    lists::{self, Value},
};

/// What a column holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// A number of any sign.
    Number,
    /// A number that is not negative.
    Price,
    /// A moment.
    Time,
    /// A currency of ISO 4217.
    Currency,
    /// A currency of ISO 4217, or a virtual one.
    AnyCurrency,
    /// One of some texts.
    Values(&'static [Value]),
    /// One of the subcategories of services.
    Subcategory,
    /// A unit of measure; FOCUS recommends how it is written.
    Unit,
    /// An object of JSON without objects in it.
    Pairs,
    /// An object of JSON with a list of objects, each with some keys.
    Elements(&'static lists::Keys),
}

/// May a column be null?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nulls {
    /// It must not.
    Never,
    /// It should not, or only in cases that the file does not tell.
    Seldom,
    /// It may, as far as no rule of `rows` says otherwise.
    Maybe,
}

/// What is known of a column.
#[derive(Debug)]
pub(super) struct Facts {
    pub column: Column,
    pub name: &'static str,
    pub kind: Kind,
    /// For each version `M`andatory, `C`onditional, `R`ecommended, or `-` if it does not have the column.
    pub levels: [u8; 5],
    pub nulls: Nulls,
    pub feature: Feature,
    pub ids: Ids,
}

/// Ids of the rules that are about one column alone.
#[derive(Debug)]
pub(super) struct Ids {
    pub present: &'static str,
    pub given: &'static str,
    pub format: &'static str,
    pub typed: &'static str,
}

macro_rules! columns {
    ($($name:ident $kind:expr, $levels:literal $nulls:ident $feature:expr;)*) => {
        /// A column of FOCUS; its number is its bit in sets of columns.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(clippy::enum_variant_names, reason = "columns have the names that FOCUS gives them")]
        pub(super) enum Column { $($name),* }

        pub(super) const COLUMNS: &[Facts] = &[$(Facts {
            column: Column::$name,
            name: stringify!($name),
            kind: $kind,
            levels: *$levels,
            nulls: Nulls::$nulls,
            feature: $feature,
            ids: Ids {
                present: concat!("focus-", stringify!($name), "-present"),
                given: concat!("focus-", stringify!($name), "-given"),
                format: concat!("focus-", stringify!($name), "-format"),
                typed: concat!("focus-", stringify!($name), "-type"),
            },
        }),*];
    };
}

use Kind::{AnyCurrency, Currency, Elements, Number, Pairs, Price, Subcategory, Text, Time, Unit, Values};

const VIRTUAL_CURRENCIES: Feature = Other("prices in virtual currencies and price lists");

columns! {
    AllocatedMethodDetails Elements(&lists::METHOD_KEYS), b"---RR" Maybe Always;
    AllocatedMethodId Text, b"---CC" Maybe SplitCosts;
    AllocatedResourceId Text, b"---CC" Maybe SplitCosts;
    AllocatedResourceName Text, b"---CC" Maybe SplitCosts;
    AllocatedTags Pairs, b"---CC" Maybe SplitCosts;
    AvailabilityZone Text, b"RRRRR" Maybe Always;
    BilledCost Number, b"MMMMM" Never Always;
    BillingAccountId Text, b"MMMMM" Never Always;
    BillingAccountName Text, b"MMMMM" Seldom Always;
    BillingAccountType Text, b"--CCC" Never Other("several types of billing accounts");
    BillingCurrency Currency, b"MMMMM" Never Always;
    BillingPeriodEnd Time, b"MMMMM" Never Always;
    BillingPeriodStart Time, b"MMMMM" Never Always;
    CapacityReservationId Text, b"-CCCC" Maybe CapacityReservations;
    CapacityReservationStatus Values(lists::CAPACITY_STATUS), b"-CCCC" Maybe CapacityReservations;
    ChargeCategory Values(lists::CHARGE_CATEGORY), b"MMMMM" Never Always;
    ChargeClass Values(lists::CHARGE_CLASS), b"MMMMM" Maybe Always;
    ChargeDescription Text, b"MMMMM" Seldom Always;
    ChargeFrequency Values(lists::CHARGE_FREQUENCY), b"RRRRR" Never Always;
    ChargePeriodEnd Time, b"MMMMM" Never Always;
    ChargePeriodStart Time, b"MMMMM" Never Always;
    CommitmentDiscountCategory Values(lists::COMMITMENT_CATEGORY), b"CCCCC" Maybe Commitments;
    CommitmentDiscountId Text, b"CCCCC" Maybe Commitments;
    CommitmentDiscountName Text, b"CCCCC" Maybe Commitments;
    CommitmentDiscountQuantity Number, b"-CCCC" Maybe Commitments;
    CommitmentDiscountStatus Values(lists::COMMITMENT_STATUS), b"CCCCC" Maybe Commitments;
    CommitmentDiscountType Text, b"CCCCC" Maybe Commitments;
    CommitmentDiscountUnit Unit, b"-CCCC" Maybe Commitments;
    CommitmentProgramEligibilityDetails Text, b"----C" Maybe Other("commitment programs");
    ConsumedQuantity Number, b"CCCCC" Maybe MeteredUsage;
    ConsumedUnit Unit, b"CCCCC" Maybe MeteredUsage;
    ContractApplied Elements(&lists::CONTRACT_KEYS), b"---CC" Maybe Other("contract commitments");
    ContractedCost Number, b"MMMMM" Never Always;
    ContractedUnitPrice Price, b"CCCCC" Maybe Other("negotiated prices");
    EffectiveCost Number, b"MMMMM" Never Always;
    HostProviderName Text, b"---MM" Seldom Always;
    InvoiceDetailId Text, b"----C" Maybe Other("details of invoices");
    InvoiceId Text, b"--RRC" Maybe Other("invoices");
    InvoiceIssuerName Text, b"MMMMM" Never Always;
    ListCost Number, b"MMMMM" Never Always;
    ListUnitPrice Price, b"CCCCC" Maybe PriceLists;
    PricingCategory Values(lists::PRICING_CATEGORY), b"CCCCC" Maybe PricingCategories;
    PricingCurrency AnyCurrency, b"--CCC" Never PricingCurrencies;
    PricingCurrencyContractedUnitPrice Price, b"--CCC" Maybe VIRTUAL_CURRENCIES;
    PricingCurrencyEffectiveCost Number, b"--CCC" Never VIRTUAL_CURRENCIES;
    PricingCurrencyListUnitPrice Price, b"--CCC" Maybe VIRTUAL_CURRENCIES;
    PricingQuantity Number, b"MMMMM" Maybe Always;
    PricingUnit Unit, b"MMMMM" Maybe Always;
    ProviderName Text, b"MMMM-" Never Always;
    PublisherName Text, b"MMMM-" Never Always;
    RegionId Text, b"CCCCC" Maybe Regions;
    RegionName Text, b"CCCCC" Maybe Regions;
    ResourceId Text, b"CCCCC" Maybe Resources;
    ResourceName Text, b"CCCCC" Maybe Resources;
    ResourceType Text, b"CCCCC" Maybe Other("types of resources");
    ServiceCategory Values(lists::SERVICE_CATEGORY), b"MMMMM" Never Always;
    ServiceName Text, b"MMMMM" Never Always;
    ServiceProviderName Text, b"---MM" Never Always;
    ServiceSubcategory Subcategory, b"-RRRR" Never Always;
    SkuId Text, b"CCCCC" Maybe PriceLists;
    SkuMeter Text, b"-CCCC" Maybe PriceLists;
    SkuPriceDetails Pairs, b"-CCCC" Maybe PriceLists;
    SkuPriceId Text, b"CCCCC" Maybe PriceLists;
    SubAccountId Text, b"CCCCC" Maybe SubAccounts;
    SubAccountName Text, b"CCCCC" Maybe SubAccounts;
    SubAccountType Text, b"--CCC" Maybe Other("several types of sub-accounts");
    Tags Pairs, b"CCCCC" Maybe Other("tags");
}

impl Column {
    /// What is known of it.
    pub(super) fn facts(self) -> &'static Facts {
        &COLUMNS[self as usize]
    }

    pub(super) fn name(self) -> &'static str {
        self.facts().name
    }

    /// The set of this column alone.
    pub(super) const fn bit(self) -> u128 {
        1 << self as u8
    }
}

impl Facts {
    pub(super) fn level(&self, version: Version) -> u8 {
        self.levels[version as usize]
    }

    /// Versions that have the column, a bit each.
    pub(super) fn versions(&self) -> u8 {
        (0..5).filter(|at| self.levels[*at] != b'-').map(|at| 1 << at).sum()
    }

    /// The rules that are about this column alone.
    pub(super) fn rules(&self) -> Vec<Rule> {
        let rule = |id, level, says: String| Rule { id, column: self.name, level, says, versions: self.versions() };
        let is_recommended = self.levels.iter().find(|level| **level != b'-') == Some(&b'R');
        let present = if is_recommended { Level::Should } else { Level::Must };
        let mut rules = vec![rule(self.ids.present, present, self.presence())];
        match self.nulls {
            Nulls::Never => rules.push(rule(self.ids.given, Level::Must, "is not null".to_owned())),
            Nulls::Seldom => {
                let says = "is not null, but where there is nothing to say, which the file does not tell".to_owned();
                rules.push(rule(self.ids.given, Level::Should, says));
            }
            Nulls::Maybe => {}
        }
        if let Some(says) = self.kind.says() {
            let level = if matches!(self.kind, Unit) { Level::Should } else { Level::Must };
            rules.push(rule(self.ids.format, level, says));
        }
        rules.push(rule(self.ids.typed, Level::Must, self.kind.typed().to_owned()));
        rules
    }

    fn presence(&self) -> String {
        let shown_by = self.feature.shown_by().iter().filter(|column| **column != self.column);
        let shown_by: Vec<_> = shown_by.map(|column| column.name()).collect();
        match self.feature {
            Always => "is there".to_owned(),
            feature if shown_by.is_empty() => {
                format!("is there if the provider has {}, which the file does not tell: not judged", feature.about())
            }
            feature => {
                format!("is there if the provider has {}, as a column shows: {}", feature.about(), shown_by.join(", "))
            }
        }
    }
}

impl Kind {
    /// How a value looks; none if any text will do.
    fn says(self) -> Option<String> {
        let number =
            "is a number: digits, with a point, a minus sign and an exponent behind `E` where needed, and no plus sign";
        Some(match self {
            Text => return None,
            Number => number.to_owned(),
            Price => format!("{number}; it is not negative"),
            Time => "is a moment in UTC, as `2024-09-01T00:00:00Z`".to_owned(),
            Currency => "is the code of a national currency (ISO 4217)".to_owned(),
            AnyCurrency => "is the code of a national currency (ISO 4217), or the name of a virtual one".to_owned(),
            Values(values) => {
                let values: Vec<_> = values.iter().map(|(value, _)| format!("`{value}`")).collect();
                format!("is one of {}", values.join(", "))
            }
            Subcategory => "is one of the subcategories that FOCUS lists".to_owned(),
            Unit => "is a unit in the case that FOCUS lists it in, with a whole number in front if any".to_owned(),
            Pairs => "is an object of JSON, with each key once and no objects or lists in it".to_owned(),
            Elements(keys) => {
                format!(
                    "is an object of JSON with a list `Elements` of objects, each with {}",
                    keys.needed.join(" and ")
                )
            }
        })
    }

    /// The type of its values, where files have types.
    fn typed(self) -> &'static str {
        match self {
            Number | Price => "is of a numeric type (where files have types)",
            Time => "is of a type for moments, or text (where files have types)",
            Pairs | Elements(_) => "is text, a map or a list (where files have types)",
            _ => "is text (where files have types)",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_counts_what_each_version_has() {
        assert!(COLUMNS.iter().enumerate().all(|(at, facts)| facts.column as usize == at));
        assert!(COLUMNS.is_sorted_by_key(|facts| facts.name) && COLUMNS.len() <= 128);
        let counts = Version::ALL.map(|version| COLUMNS.iter().filter(|facts| facts.level(version) != b'-').count());
        assert_eq!(counts, [43, 50, 57, 65, 65]);
    }
}
