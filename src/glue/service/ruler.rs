//! Rules that are written through an API while the server runs.
//!
//! Called by `http::ruler`. Groups belong to namespaces, which are files of the server's own folder; a file that the settings name is a
//! namespace, too, that is only read. Invariant: what is in force is on disk; a change that is refused changes neither.

use std::collections::BTreeMap;

use alerting::rules::{Group, Options, by_file_to_yaml, parse_group};
use anyhow::{Context, Result};
use tracing::info;

use super::{Digests, Loaded, Service};
use crate::glue::rules::folder;

/// Groups of all namespaces that are written: more than anybody writes by hand, few enough to be read at a start.
const GROUPS_MAX: usize = 10_000;

/// Why a change is refused.
#[derive(Debug)]
pub enum Refused {
    /// The text is wrong; all that is, each with line and column.
    Wrong(String),
    /// There is no such namespace or group.
    Missing(&'static str),
    /// The namespace is a file of the settings.
    ReadOnly,
    /// It cannot be written down now.
    Failed(anyhow::Error),
}

impl Service {
    /// Groups in force, by namespace; of one namespace, or of all.
    pub async fn namespaces(&self, only: Option<&str>) -> Vec<Loaded> {
        let in_force = self.0.in_force.lock().await;
        let all = in_force.own.iter().chain(&in_force.files);
        all.filter(|loaded| only.is_none_or(|name| name == loaded.file)).cloned().collect()
    }

    /// Puts a group into a namespace, in the place of one of the same name if there is one; gives its name. It is in force then.
    ///
    /// # Errors
    /// Why not; nothing has changed then.
    pub async fn put_group(&self, namespace: &str, text: String) -> Result<String, Refused> {
        folder::check(namespace).map_err(|error| Refused::Wrong(format!("{error:#}")))?;
        let read = move || {
            parse_group(&text, &Options { ignores_unknown_fields: false, template: &alerting::template::check })
        };
        let read = tokio::task::spawn_blocking(read).await.map_err(|error| Refused::Failed(error.into()))?;
        let group = read
            .map_err(|errors| Refused::Wrong(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
        let name = group.name.clone();
        self.change(namespace, |groups| {
            match groups.iter_mut().find(|known| known.name == group.name) {
                Some(known) => *known = group,
                None => groups.push(group),
            }
            Ok(())
        })
        .await?;
        info!(namespace, group = name, "a group of rules was written and is in force");
        Ok(name)
    }

    /// Takes a group out of a namespace, or all of them.
    ///
    /// # Errors
    /// Why not; nothing has changed then.
    pub async fn remove_groups(&self, namespace: &str, group: Option<&str>) -> Result<(), Refused> {
        self.change(namespace, |groups| {
            let before = groups.len();
            groups.retain(|known| group.is_some_and(|group| group != known.name));
            if groups.len() < before { Ok(()) } else { Err(Refused::Missing("group does not exist")) }
        })
        .await?;
        info!(namespace, group, "groups of rules were taken out and are not in force any more");
        Ok(())
    }

    /// Changes the groups of a namespace: on disk, and then in force.
    async fn change(
        &self,
        namespace: &str,
        change: impl FnOnce(&mut Vec<Group>) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let mut in_force = self.0.in_force.lock().await;
        if in_force.files.iter().any(|known| known.file == namespace) {
            return Err(Refused::ReadOnly);
        }
        let mut own = in_force.own.clone();
        let at = own.iter().position(|known| known.file == namespace).unwrap_or_else(|| {
            own.push(Loaded { file: namespace.to_owned(), groups: Vec::new() });
            own.len() - 1
        });
        let Some(of) = own.get_mut(at) else { return Ok(()) };
        change(&mut of.groups)?;
        let groups = of.groups.clone();
        if own.iter().map(|known| known.groups.len()).sum::<usize>() > GROUPS_MAX {
            return Err(Refused::Wrong(format!("there are as many groups as are kept groups_max={GROUPS_MAX}")));
        }
        own.retain(|known| !known.groups.is_empty());
        let (path, name) = (self.0.settings.rules_folder.clone(), namespace.to_owned());
        let settings = self.0.settings.clone();
        let written = tokio::task::spawn_blocking(move || {
            let before = Digests::own(&settings);
            folder::write(&path, &name, &groups)?;
            Ok((before, Digests::own(&settings)))
        });
        let (before, after) = written.await.context("writing broke off").flatten().map_err(Refused::Failed)?;
        // What somebody else wrote there meanwhile is seen to when files are looked at.
        let mut seen = self.0.seen.lock();
        if seen.own == before {
            seen.own = after;
        }
        drop(seen);
        in_force.own = own;
        self.0.rules.apply(in_force.all());
        Ok(())
    }
}

/// Namespaces as YAML: a map to lists of groups.
///
/// # Errors
/// If they cannot be written.
pub fn shown(namespaces: &[Loaded]) -> alerting::Result<String> {
    let all: BTreeMap<&str, &[Group]> =
        namespaces.iter().map(|loaded| (loaded.file.as_str(), loaded.groups.as_slice())).collect();
    by_file_to_yaml(&all)
}
