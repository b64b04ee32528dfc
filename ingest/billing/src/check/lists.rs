//! What FOCUS and ISO 4217 list: allowed values, categories of services and what is below them, currencies, units, keys of objects.
//!
//! Read by the checks of values. Facts, no sentences. What a value says of its row, such as that it is of usage, is a flag beside it.

/// What values say of a row, a bit each.
pub(super) const USAGE: u32 = 1;
pub(super) const PURCHASE: u32 = 1 << 1;
pub(super) const TAX: u32 = 1 << 2;
pub(super) const CREDIT: u32 = 1 << 3;
pub(super) const ADJUSTMENT: u32 = 1 << 4;
pub(super) const CORRECTION: u32 = 1 << 5;
pub(super) const USED: u32 = 1 << 6;
pub(super) const UNUSED: u32 = 1 << 7;
pub(super) const CAPACITY_UNUSED: u32 = 1 << 8;
pub(super) const COMMITTED: u32 = 1 << 9;
pub(super) const USAGE_BASED: u32 = 1 << 10;

/// A value that a column may have, and its flag.
pub(super) type Value = (&'static str, u32);

pub(super) const CHARGE_CATEGORY: &[Value] =
    &[("Usage", USAGE), ("Purchase", PURCHASE), ("Tax", TAX), ("Credit", CREDIT), ("Adjustment", ADJUSTMENT)];
pub(super) const CHARGE_CLASS: &[Value] = &[("Correction", CORRECTION)];
pub(super) const CHARGE_FREQUENCY: &[Value] = &[("Usage-Based", USAGE_BASED), ("Recurring", 0), ("One-Time", 0)];
pub(super) const PRICING_CATEGORY: &[Value] =
    &[("Standard", 0), ("Committed", COMMITTED), ("Dynamic", 0), ("Other", 0)];
pub(super) const COMMITMENT_CATEGORY: &[Value] = &[("Spend", 0), ("Usage", 0)];
pub(super) const COMMITMENT_STATUS: &[Value] = &[("Used", USED), ("Unused", UNUSED)];
pub(super) const CAPACITY_STATUS: &[Value] = &[("Used", 0), ("Unused", CAPACITY_UNUSED)];
pub(super) const SERVICE_CATEGORY: &[Value] = &[
    ("Compute", 0),
    ("Storage", 0),
    ("Networking", 0),
    ("Databases", 0),
    ("Management and Governance", 0),
    ("AI and Machine Learning", 0),
    ("Analytics", 0),
    ("Business Applications", 0),
    ("Developer Tools", 0),
    ("Multicloud", 0),
    ("Identity", 0),
    ("Integration", 0),
    ("Internet of Things", 0),
    ("Media", 0),
    ("Migration", 0),
    ("Mobile", 0),
    ("Security", 0),
    ("Web", 0),
    ("Other", 0),
];

/// Categories of services with their subcategories; each has one more, such as `Other (Compute)`.
pub(super) const SUBCATEGORIES: &[(&str, &[&str])] = &[
    ("Compute", &["Containers", "End User Computing", "Quantum Compute", "Serverless Compute", "Virtual Machines"]),
    ("Storage", &["Backup Storage", "Block Storage", "File Storage", "Object Storage", "Storage Platforms"]),
    (
        "Networking",
        &[
            "Application Networking",
            "Content Delivery",
            "Network Connectivity",
            "Network Infrastructure",
            "Network Routing",
            "Network Security",
        ],
    ),
    (
        "Databases",
        &[
            "Caching",
            "Data Warehouses",
            "Ledger Databases",
            "NoSQL Databases",
            "Relational Databases",
            "Time Series Databases",
        ],
    ),
    (
        "Management and Governance",
        &[
            "Architecture",
            "Compliance",
            "Cost Management",
            "Data Governance",
            "Disaster Recovery",
            "Endpoint Management",
            "Observability",
            "Support",
        ],
    ),
    (
        "AI and Machine Learning",
        &["AI Platforms", "Bots", "Generative AI", "Machine Learning", "Natural Language Processing"],
    ),
    (
        "Analytics",
        &["Analytics Platforms", "Business Intelligence", "Data Processing", "Search", "Streaming Analytics"],
    ),
    ("Business Applications", &["Productivity and Collaboration"]),
    (
        "Developer Tools",
        &[
            "Developer Platforms",
            "Continuous Integration and Deployment",
            "Development Environments",
            "Source Code Management",
            "Quality Assurance",
        ],
    ),
    ("Multicloud", &["Multicloud Integration"]),
    ("Identity", &["Identity and Access Management"]),
    ("Integration", &["API Management", "Messaging", "Workflow Orchestration"]),
    ("Internet of Things", &["IoT Analytics", "IoT Platforms"]),
    ("Media", &["Content Creation", "Gaming", "Media Streaming", "Mixed Reality"]),
    ("Migration", &["Data Migration", "Resource Migration"]),
    ("Mobile", &[]),
    ("Security", &["Secret Management", "Security Posture Management", "Threat Detection and Response"]),
    ("Web", &["Application Platforms"]),
    ("Other", &[]),
];

/// The category that a subcategory is of.
pub(super) fn category_of(subcategory: &str) -> Option<&'static str> {
    let other = subcategory.strip_prefix("Other (").and_then(|rest| rest.strip_suffix(')'));
    SUBCATEGORIES
        .iter()
        .find(|(category, below)| Some(*category) == other || below.contains(&subcategory))
        .map(|(category, _)| *category)
}

/// Codes of ISO 4217 for national currencies, three letters each. Codes of metals, funds and tests are none.
const CURRENCIES: &str = "\
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY COP CRC CUC CUP \
CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY \
KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR \
NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND \
TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG ZWL";

/// Is it a code of a national currency?
pub(super) fn is_currency(text: &str) -> bool {
    text.len() == 3 && CURRENCIES.split(' ').any(|code| code == text)
}

/// Units that FOCUS lists, as it writes them, in the singular. Of `GB` and `Gb` each is another unit.
pub(super) const UNITS: &[&str] = &[
    "b",
    "B",
    "Kb",
    "KB",
    "Mb",
    "MB",
    "Gb",
    "GB",
    "Tb",
    "TB",
    "Pb",
    "PB",
    "Eb",
    "EB",
    "Kib",
    "KiB",
    "Mib",
    "MiB",
    "Gib",
    "GiB",
    "Tib",
    "TiB",
    "Pib",
    "PiB",
    "Eib",
    "EiB",
    "Year",
    "Month",
    "Day",
    "Hour",
    "Minute",
    "Second",
    "Count",
    "Unit",
    "Request",
    "Token",
    "Connection",
    "Certificate",
    "Domain",
    "Core",
];

/// Keys of the elements of an object.
#[derive(Debug)]
pub(super) struct Keys {
    /// Each element has these.
    pub needed: &'static [&'static str],
    /// It may have these too, and such as begin with `x_`.
    pub others: &'static [&'static str],
    /// Of these it has one with a value.
    pub one_of: &'static [&'static str],
    /// Numbers.
    pub numbers: &'static [&'static str],
    /// If the first is there, so is the second.
    pub with: Option<(&'static str, &'static str)>,
}

pub(super) const METHOD_KEYS: Keys = Keys {
    needed: &["AllocatedRatio"],
    others: &["UsageQuantity", "UsageUnit"],
    one_of: &[],
    numbers: &["AllocatedRatio", "UsageQuantity"],
    with: Some(("UsageQuantity", "UsageUnit")),
};

pub(super) const CONTRACT_KEYS: Keys = Keys {
    needed: &["ContractId", "ContractCommitmentId"],
    others: &["ContractCommitmentAppliedCost", "ContractCommitmentAppliedQuantity", "ContractCommitmentAppliedUnit"],
    one_of: &["ContractCommitmentAppliedCost", "ContractCommitmentAppliedQuantity"],
    numbers: &["ContractCommitmentAppliedCost", "ContractCommitmentAppliedQuantity"],
    with: Some(("ContractCommitmentAppliedQuantity", "ContractCommitmentAppliedUnit")),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subcategories_have_the_category_they_are_listed_under() {
        assert_eq!(category_of("Virtual Machines"), Some("Compute"));
        assert_eq!(category_of("Other (Mobile)"), Some("Mobile"));
        assert_eq!((category_of("Other (Nonsense)"), category_of("Other"), category_of("VMs")), (None, None, None));
        let listed: usize = SUBCATEGORIES.iter().map(|(_, below)| below.len() + 1).sum();
        assert_eq!((listed, SUBCATEGORIES.len()), (82, SERVICE_CATEGORY.len()));
        assert!(SUBCATEGORIES.iter().all(|(name, _)| SERVICE_CATEGORY.iter().any(|value| value.0 == *name)));
    }

    #[test]
    fn currencies_are_codes_of_nations() {
        assert!(["USD", "EUR", "JPY", "XOF"].into_iter().all(is_currency));
        assert!(!["usd", "XAU", "XXX", "US", "USD ", "Token", "D A"].into_iter().any(is_currency));
    }
}
