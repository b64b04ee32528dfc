//! A disk that is full refuses writes and nothing else, and when there is room again writes go on by themselves.
//!
//! On a small file system in memory, which takes the right to mount one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::support::{
    process::{self, Home},
    server::eventually,
    wire::{self, v1},
};

const SERIES: u32 = 500;
/// Requests sent at most until the disk is full.
const REQUESTS_MAX: u32 = 2_000;

/// A mounted file system; unmounted at the end.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path, size: &str) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(at);
        match mount.output() {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            _ => {
                process::skipped("a file system in memory cannot be mounted", "run the tests as root");
                None
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Request `n`: a sample of each series.
fn request(n: u32) -> Vec<u8> {
    let now_ms = i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let base_ms = now_ms / 3_600_000 * 3_600_000 - 3_600_000;
    let series = |id: u32| {
        // Values that no encoding makes small.
        let value = (f64::from(id * 7919 + n * 104_729) + 0.5).sqrt();
        let id = format!("series-{id}");
        v1::series(&[("__name__", "filling"), ("id", &id)], &[(base_ms + i64::from(n) * 1000, value)])
    };
    wire::snappy(&v1::WriteRequest { timeseries: (0..SERIES).map(series).collect(), metadata: Vec::new() })
}

#[test]
fn a_full_disk_refuses_writes_and_takes_them_again_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_small) = Small::mount(folder.path(), "48m") else { return };
    let settings = "storage: {flush_bytes: 1MiB, wal_segment_bytes: 1MiB}\n";
    let home = Home::new(folder.path(), settings);
    let mut server = home.start(&[]).expect("the server starts");
    let filler = folder.path().join("filler");
    fs::write(&filler, vec![1; 36 << 20]).unwrap();

    let agent = process::agent(Duration::from_secs(30));
    let write = |n: u32| home.write(&agent, &request(n)).expect("an answer");
    let count = || home.sql("SELECT count(*) FROM samples")[0].parse::<u32>().unwrap();
    let mut sent = 0;
    while (200..=299).contains(&write(sent)) {
        sent += 1;
        assert!(sent < REQUESTS_MAX, "the disk was never full");
    }
    assert!(sent > 10, "what fitted was taken, sent={sent}");
    for _ in 0..3 {
        assert_eq!(write(sent), 503, "writes are refused as long as there is no room");
    }
    assert_eq!(count(), sent * SERIES, "reads go on");

    fs::remove_file(&filler).unwrap();
    let taken = eventually(|| (200..=299).contains(&write(sent)).then_some(()));
    assert!(taken.is_some(), "writes go on by themselves: {}", server.log_tail());
    sent += 1;
    // Twice, as a sender does that missed the answers.
    for n in sent - 5..sent + 50 {
        assert!((200..=299).contains(&write(n)), "request {n}: {}", server.log_tail());
    }
    sent += 50;
    assert_eq!(count(), sent * SERIES, "each sample once");
    server = {
        server.kill();
        home.start(&[]).expect("the server starts again")
    };
    assert_eq!(count(), sent * SERIES, "each sample once, after a crash");
    home.flush();
    assert_eq!(count(), sent * SERIES);
    drop(server);
}
