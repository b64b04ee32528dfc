//! `billing`: how bills are loaded, whose tags count, and where exports are fetched from.
//!
//! Called while settings are validated; hands `ingest::billing` what it works with. Who we are to a store comes from the environment
//! alone, by variables that each export may have a prefix for. Not here: speaking to stores.

use std::{collections::BTreeSet, fmt, path::Path};

use chrono::NaiveDate;
use ingest::billing::{
    Account, Format, Period, Reading, TagRules, Tags,
    pull::{CREDENTIAL_VARIABLES, Credentials, Export, Layout, Place, Role},
    tags::{self, TagRule},
};
use serde_saphyr::Spanned;

use super::{
    Outside, Refused,
    raw::{self, Alias},
    required, span,
    tables::is_plain,
    units::Span,
    within,
};

const DAY_S: u64 = 86_400;
/// Exports there may be. Each is listed in turn, and what it has is loaded one after the other.
const EXPORTS_MAX: usize = 1_000;
/// Where delivered bytes are kept, in the data folder.
const ARCHIVE: &str = "raw/billing";
/// Without a manifest, files are taken when nothing about them changed for so long, if nothing else is said.
const QUIET_S: u64 = 900;

/// Settings of bills.
#[derive(Debug, Clone)]
pub struct Billing {
    /// How they are loaded.
    pub loads: ingest::billing::Config,
    /// Who accounts belong to.
    pub accounts: Vec<Account>,
    /// Which are fetched.
    pub exports: Vec<Export>,
    /// How often exports are looked at, microseconds.
    pub look_every_us: i64,
}

impl raw::Billing {
    pub(super) fn validate(self, data_dir: &Path, outside: &Outside<'_>) -> Result<Billing, Refused> {
        let origin = outside.origin;
        let time = |name: &str, written: Option<Spanned<Span>>, least_s: u64| {
            let written = required(origin, &format!("billing.{name}"), written)?;
            Ok(within(origin, &written, span(least_s)..=span(3650 * DAY_S))?.millis() * 1000)
        };
        let mut rules: [TagRule; 6] = Default::default();
        for (name, written) in self.tags.unwrap_or_default() {
            let known = tags::names();
            let Some(at) = known.iter().position(|known| *known == name) else {
                let reason = format!("`{name}` is no mandatory tag; there are {}", known.join(", "));
                return Err(Refused::at(origin, &written, reason));
            };
            rules[at] = rule(&written.value).map_err(|reason| Refused::at(origin, &written, reason))?;
        }
        let mut accounts = Vec::new();
        for written in self.accounts.unwrap_or_default() {
            let account = account(&written.value).map_err(|reason| Refused::at(origin, &written, reason))?;
            accounts.push(account);
        }
        let (mut exports, mut names) = (Vec::new(), BTreeSet::new());
        for written in self.exports.unwrap_or_default() {
            let export = export(&written, outside)?;
            if !names.insert(export.name.clone()) || names.len() > EXPORTS_MAX {
                let reason = format!(
                    "an export has a name of its own, and there are at most {EXPORTS_MAX} name={}",
                    export.name
                );
                return Err(Refused::at(origin, &written, reason));
            }
            exports.push(export);
        }
        Ok(Billing {
            loads: ingest::billing::Config {
                tags: TagRules::new(Tags::new(rules)),
                archive_dir: data_dir.join(ARCHIVE),
                // What is sent in parts stays at least until it is loaded.
                archive_us: time("archive", self.archive, DAY_S)?,
                close_after_us: time("close_after", self.close_after, DAY_S)?,
                kept_days: schemas::costs().retention_days,
            },
            accounts,
            exports,
            look_every_us: time("look_every", self.look_every, 1)?,
        })
    }
}

impl Billing {
    /// Moves what is in the data folder.
    pub(super) fn in_folder(&mut self, data_dir: &Path) {
        self.loads.archive_dir = data_dir.join(ARCHIVE);
    }
}

impl fmt::Display for Billing {
    /// What would be fetched; ends with a newline unless it is empty.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for export in &self.exports {
            writeln!(f, "bills          {}: {}", export.name, export.place)?;
        }
        Ok(())
    }
}

fn rule(written: &raw::Tag) -> Result<TagRule, String> {
    let alias = |alias: &Alias| match alias {
        Alias::Name(key) => Ok(tags::Alias { key: key.clone(), ..tags::Alias::default() }),
        Alias::Dated(dated) => Ok(tags::Alias {
            key: dated.key.clone(),
            from_us: dated.from.as_deref().map(day_us).transpose()?,
            until_us: dated.until.as_deref().map(day_us).transpose()?,
        }),
    };
    let fallback = |written: &raw::Fallback| {
        let mut labels = written.label.iter().flatten();
        let label = labels.next().map(|(key, value)| (key.clone(), value.clone()));
        if labels.next().is_some() || written.value.is_empty() {
            return Err("a default has a `value`, and at most one `label`".to_owned());
        }
        let (account, service) = (written.account.clone(), written.service.clone());
        Ok(tags::Fallback { account, service, label, value: written.value.clone() })
    };
    Ok(TagRule {
        aliases: written.aliases.iter().map(alias).collect::<Result<_, String>>()?,
        values: written.values.clone().into_iter().collect(),
        defaults: written.defaults.iter().map(fallback).collect::<Result<_, _>>()?,
    })
}

fn account(written: &raw::Account) -> Result<Account, String> {
    if written.id.is_empty() {
        return Err("an account has an `id`; write {id: \"123456789012\", name: payments}".to_owned());
    }
    Ok(Account {
        id: written.id.clone(),
        name: written.name.clone(),
        path: written.path.clone(),
        owner: written.owner.clone(),
        environment: written.environment.clone(),
        from_us: written.from.as_deref().map(day_us).transpose()?,
        until_us: written.until.as_deref().map(day_us).transpose()?,
    })
}

fn day_us(text: &str) -> Result<i64, String> {
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .map_err(|_| format!("no day: write it as 2026-11-01 day={text}"))?;
    Ok(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros())
}

fn export(written: &Spanned<raw::Export>, outside: &Outside<'_>) -> Result<Export, Refused> {
    let (origin, raw) = (outside.origin, &written.value);
    let name = required_in(origin, written, "name", raw.name.as_ref())?;
    let from = required_in(origin, written, "from", raw.from.as_ref())?;
    if name.value.is_empty() || name.value.contains('/') {
        return Err(Refused::at(origin, name, "an export's name is a word without a slash, such as aws-main"));
    }
    let prefix = raw.credentials_prefix.as_ref().map(|prefix| prefix.value.as_str()).unwrap_or_default();
    let variable = |name: &&'static str| {
        let value = (outside.variables)(&format!("{prefix}{name}")).filter(|value| !value.is_empty())?;
        Some((*name, value))
    };
    let mut allow_http = false;
    if let Some(endpoint) = &raw.endpoint {
        let plain = is_plain(&endpoint.value, raw.allow_http.unwrap_or(false));
        allow_http = plain.map_err(|reason| Refused::at(origin, endpoint, reason))?;
    }
    let role = raw.assume_role.as_ref().map(|role| Role {
        arn: role.arn.value.clone(),
        external_id: role.external_id.as_ref().map(|id| id.value.clone()),
        endpoint: role.endpoint.as_ref().map(|endpoint| endpoint.value.clone()),
    });
    let place = |written: &Spanned<String>| -> Result<Place, Refused> {
        let place = Place::parse(&written.value).map_err(|reason| Refused::at(origin, written, reason))?;
        if role.is_some() && place.scheme() != "s3" {
            return Err(Refused::at(origin, written, "only buckets of S3 are read with a role: `from: s3://…`"));
        }
        Ok(place)
    };
    let quiet = match &raw.quiet {
        Some(quiet) => within(origin, quiet, span(0)..=span(30 * DAY_S))?,
        None => span(QUIET_S),
    };
    let layout = match raw.layout {
        Some(layout) => layout,
        None if raw.provider == Some(Format::Oci) => Layout::Files,
        None => Layout::Folders,
    };
    Ok(Export {
        name: name.value.clone(),
        place: place(from)?,
        amortized: raw.amortized_from.as_ref().map(place).transpose()?,
        reading: Reading {
            provider: raw.provider,
            azure: raw.azure,
            period: None::<Period>,
            assume: raw.assume.clone(),
            uncounted: raw.counted == Some(false),
        },
        layout,
        quiet_us: quiet.millis() * 1000,
        region: raw.region.clone(),
        endpoint: raw.endpoint.as_ref().map(|endpoint| endpoint.value.clone()),
        path_style: raw.path_style,
        allow_http,
        credentials: Credentials(CREDENTIAL_VARIABLES.iter().filter_map(variable).collect()),
        role,
    })
}

fn required_in<'a, T>(
    origin: &str,
    export: &Spanned<raw::Export>,
    key: &str,
    value: Option<&'a Spanned<T>>,
) -> Result<&'a Spanned<T>, Refused> {
    let example = "write {name: aws-main, from: s3://bucket/prefix}";
    value.ok_or_else(|| Refused::at(origin, export, format!("an export has no `{key}`; {example}")))
}
