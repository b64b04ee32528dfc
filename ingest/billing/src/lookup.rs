//! Facts about providers' services, regions and units that their bills do not state: what category a service is of, what a unit counts.
//!
//! Used by the mappings. The tables are files of `data/`, part of the program; where they are from is said beside them. Keys are found
//! whatever their case.

use std::sync::LazyLock;

use hashbrown::HashMap;

use crate::record::is_same;

/// What a table says of one key.
type Rows = HashMap<String, Vec<&'static str>>;

/// A table: the first `keys` columns, in lower case and with a comma between, lead to the others.
fn table(text: &'static str, keys: usize) -> Rows {
    text.lines()
        .skip(1)
        .map(|line| {
            let mut cells: Vec<&str> = line.split(',').collect();
            let values = cells.split_off(keys.min(cells.len()));
            (cells.join(",").to_lowercase(), values)
        })
        .collect()
}

macro_rules! table {
    ($name:ident, $file:literal, $keys:literal) => {
        static $name: LazyLock<Rows> = LazyLock::new(|| table(include_str!(concat!("../data/", $file)), $keys));
    };
}

table!(AWS_SERVICES, "aws_services.csv", 1);
table!(GCP_SERVICES, "gcp_services.csv", 1);
table!(AZURE_PROVIDERS, "azure_providers.csv", 1);
table!(AZURE_SERVICES, "azure_services.csv", 2);
table!(AZURE_REGIONS, "azure_regions.csv", 1);
table!(AZURE_UNITS, "azure_units.csv", 1);

/// Category of what no table knows.
const OTHER: &str = "Other";

/// Keys and what they lead to, since neighbouring rows mostly have the same.
#[derive(Debug, Default)]
pub(crate) struct Cached<T> {
    key: Option<String>,
    value: T,
}

impl<T: Copy + Default> Cached<T> {
    pub(crate) fn get(&mut self, key: &str, look_up: impl FnOnce(&str) -> T) -> T {
        if self.key.as_deref() != Some(key) {
            self.value = look_up(key);
            self.key = Some(key.to_owned());
        }
        self.value
    }
}

/// A text in lower case, since neighbouring rows mostly have the same.
#[derive(Debug, Default)]
pub(crate) struct Lowered {
    text: String,
    lower: String,
}

impl Lowered {
    pub(crate) fn get(&mut self, text: &str) -> &str {
        if !is_same(self.text.as_bytes(), text.as_bytes()) {
            text.clone_into(&mut self.text);
            self.lower = text.to_lowercase();
        }
        &self.lower
    }
}

/// Category of a service of AWS, by its product code.
pub(crate) fn aws_category(product_code: &str) -> &'static str {
    cell(&AWS_SERVICES, product_code, 0).unwrap_or(OTHER)
}

/// Category of a service of Google Cloud, by its description.
pub(crate) fn gcp_category(service: &str) -> &'static str {
    cell(&GCP_SERVICES, service, 0).unwrap_or(OTHER)
}

/// A service of Azure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AzureService {
    pub name: &'static str,
    pub category: &'static str,
    pub subcategory: &'static str,
}

/// A service of Azure, by its resource provider, a comma and the type of the resource; by the provider alone, if the type is not known.
pub(crate) fn azure_service(key: &str) -> AzureService {
    let key = key.to_lowercase();
    if let Some([name, category, subcategory]) = AZURE_SERVICES.get(&key).and_then(|cells| cells.first_chunk().copied())
    {
        return AzureService { name, category, subcategory };
    }
    let provider = key.split(',').next().unwrap_or_default();
    AzureService { category: cell(&AZURE_PROVIDERS, provider, 0).unwrap_or(OTHER), ..AzureService::default() }
}

/// Id and name of a region of Azure, by any of its spellings.
pub(crate) fn azure_region(spelling: &str) -> Option<(&'static str, &'static str)> {
    let key = spelling.to_lowercase();
    Some((cell(&AZURE_REGIONS, &key, 0)?, cell(&AZURE_REGIONS, &key, 1)?))
}

/// What a unit of Azure counts: `100 Hours` is hours in blocks of 100.
pub(crate) fn azure_unit(unit: &str) -> Option<(u64, &'static str)> {
    let key = unit.trim().to_lowercase();
    Some((cell(&AZURE_UNITS, &key, 0)?.parse().ok()?, cell(&AZURE_UNITS, &key, 1)?))
}

fn cell(rows: &Rows, key: &str, column: usize) -> Option<&'static str> {
    let cells = rows.get(key).or_else(|| rows.get(&key.to_lowercase()))?;
    cells.get(column).copied().filter(|cell| !cell.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_found_whatever_the_case() {
        assert_eq!(aws_category("AmazonEC2"), "Compute");
        assert_eq!(aws_category("AmazonUnheardOf"), "Other");
        assert_eq!(gcp_category("compute engine"), "Compute");
        assert_eq!(azure_unit("100 Hours"), Some((100, "Hours")));
        assert_eq!(azure_unit("10k"), Some((10_000, "Units")));
        assert_eq!(azure_region("US East 2"), Some(("eastus2", "East US 2")));
        let machines = azure_service("Microsoft.Compute,Microsoft.Compute/virtualMachines");
        assert_eq!((machines.name, machines.category), ("Virtual Machines", "Compute"));
        assert_eq!(azure_service("microsoft.compute,microsoft.compute/unheardof").category, "Compute");
    }

    #[test]
    fn every_category_is_one_of_focus() {
        let known = [
            "AI and Machine Learning",
            "Analytics",
            "Business Applications",
            "Compute",
            "Databases",
            "Developer Tools",
            "Multicloud",
            "Identity",
            "Integration",
            "Internet of Things",
            "Management and Governance",
            "Media",
            "Migration",
            "Mobile",
            "Networking",
            "Security",
            "Storage",
            "Web",
            "Other",
        ];
        let first =
            AWS_SERVICES.values().chain(GCP_SERVICES.values()).chain(AZURE_PROVIDERS.values()).map(|cells| cells[0]);
        for category in first.chain(AZURE_SERVICES.values().map(|cells| cells[1])) {
            assert!(known.contains(&category), "{category}");
        }
    }
}
