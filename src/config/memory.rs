//! How much memory the process may use, and how the one budget is split.
//!
//! Called while settings are validated; hands byte counts to `storage` and `query`.

use std::{fs, path::Path};

use super::units::{Memory, Size};

/// Assumed where neither `/proc` nor control groups tell.
const UNKNOWN: u64 = 4 << 30;

/// Smallest budget that is accepted: below this a few requests of the largest size would not fit beside anything else.
const BUDGET_MIN: u64 = 128 << 20;

/// Hundredths of the budget for rows that were accepted and are not yet in files. Rows live there for minutes at most, and
/// when it is full, writers are asked to wait, so it needs to cover a burst and one slow commit, not more.
const HEAD: u64 = 30;
/// Hundredths for running queries (sorts, joins, aggregates), the part that peaks.
const QUERIES: u64 = 35;
/// Hundredths for what makes queries fast and can be dropped: footers and page indexes, decoded samples, answers.
const CACHES: u64 = 15;
/// Hundredths for the index of known series, which grows with the fleet and not with its samples.
const SERIES: u64 = 10;
/// Hundredths for the bodies of requests under way.
const REQUESTS: u64 = 5;
// The remaining twentieth is what nobody accounts for: Parquet buffers of a commit, the allocator's slack.

/// The budget and its parts, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// All of it.
    pub total: u64,
    /// For rows in memory.
    pub head: u64,
    /// For running queries.
    pub queries: u64,
    /// For caches.
    pub caches: u64,
    /// For known series.
    pub series: u64,
    /// For bodies of requests.
    pub requests: u64,
}

impl Budget {
    /// Splits what the setting gives; `limit` is what the machine or cgroup allows, in bytes.
    #[must_use]
    pub fn split(memory: Memory, limit: u64) -> Self {
        let total = match memory {
            Memory::Bytes(bytes) => bytes,
            Memory::Percent(percent) => hundredths(limit, percent),
        };
        let share = |percent| hundredths(total, percent);
        Self {
            total,
            head: share(HEAD),
            queries: share(QUERIES),
            caches: share(CACHES),
            series: share(SERIES),
            requests: share(REQUESTS),
        }
    }

    /// Is it neither too little to work with nor more than there is?
    ///
    /// # Errors
    /// Which of both, and the bound.
    pub fn check(&self, limit: u64) -> Result<(), String> {
        let total = Size(self.total);
        if self.total < BUDGET_MIN {
            return Err(format!("a memory budget of {total} is too small: at least {}", Size(BUDGET_MIN)));
        }
        if self.total > limit {
            return Err(format!("a memory budget of {total} is more than this process may use: {}", Size(limit)));
        }
        Ok(())
    }
}

/// Exact, and without overflow.
fn hundredths(whole: u64, percent: u64) -> u64 {
    whole / 100 * percent + whole % 100 * percent / 100
}

/// Memory that the process may use: the machine's, or the limit of its control group if that is less. `root` is `/`.
#[must_use]
pub fn limit(root: &Path) -> u64 {
    let known = [machine(root), control_group(root), control_group_v1(root)];
    known.into_iter().flatten().min().unwrap_or(UNKNOWN)
}

fn machine(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The least limit on the way from the process's group up to the root of the tree.
fn control_group(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?.trim_start_matches('/');
    let tree = root.join("sys/fs/cgroup");
    let limits = Path::new(group).ancestors().filter_map(|group| number(&tree.join(group).join("memory.max")));
    limits.min()
}

fn control_group_v1(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let memory =
        |line: &&str| line.split(':').nth(1).is_some_and(|names| names.split(',').any(|name| name == "memory"));
    let group = groups.lines().find(memory)?.splitn(3, ':').nth(2)?.trim_start_matches('/');
    let tree = root.join("sys/fs/cgroup/memory");
    // In a container the group's own folder is often mounted as the root of the tree.
    [tree.join(group), tree].iter().filter_map(|group| number(&group.join("memory.limit_in_bytes"))).min()
}

/// A limit; none if the file says `max` or is not there.
fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_least_limit_up_the_tree_of_control_groups_counts() {
        let root = tree(&[
            ("proc/meminfo", "MemTotal:       16000000 kB\nMemFree: 1 kB\n"),
            ("proc/self/cgroup", "0::/kubepods/pod1/main\n"),
            ("sys/fs/cgroup/kubepods/pod1/main/memory.max", "max\n"),
            ("sys/fs/cgroup/kubepods/pod1/memory.max", "1073741824\n"),
            ("sys/fs/cgroup/kubepods/memory.max", "8589934592\n"),
        ]);
        assert_eq!(limit(root.path()), 1 << 30);
    }

    #[test]
    fn the_first_generation_of_control_groups_is_read_too() {
        let root = tree(&[
            ("proc/meminfo", "MemTotal:       16000000 kB\n"),
            ("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n"),
        ]);
        assert_eq!(limit(root.path()), 512 << 20);
    }

    #[test]
    fn without_a_limit_the_machine_counts_and_without_that_an_assumption() {
        let root = tree(&[("proc/meminfo", "MemTotal:       16000000 kB\n"), ("proc/self/cgroup", "0::/\n")]);
        assert_eq!(limit(root.path()), 16_000_000 * 1024);
        assert_eq!(limit(tree(&[]).path()), UNKNOWN);
    }

    #[test]
    fn the_parts_never_exceed_the_budget() {
        for memory in [Memory::Percent(100), Memory::Percent(60), Memory::Bytes(BUDGET_MIN), Memory::Bytes(1 << 40)] {
            let budget = Budget::split(memory, 8 << 30);
            let parts = [budget.head, budget.queries, budget.caches, budget.series, budget.requests];
            assert!(parts.iter().sum::<u64>() <= budget.total, "{budget:?}");
            assert!(parts.iter().all(|part| *part > 0), "{budget:?}");
        }
    }
}
