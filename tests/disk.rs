//! A disk that is full, or that may not be written any more, refuses writes and nothing else, and when that is over writes go on by
//! themselves.
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

/// Runs a program that must succeed.
fn run(program: &str, args: &[&str], at: &Path) {
    let output = Command::new(program).args(args).arg(at).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Breaks the disk under a running server until it refuses writes, mends it, and counts.
fn writes_go_on_when_it_is_over(
    breaks: impl FnOnce(&Home),
    while_broken: impl FnOnce(&Home),
    mends: impl FnOnce(&Home),
) {
    let folder = tempfile::tempdir().unwrap();
    let Some(_small) = Small::mount(folder.path(), "48m") else { return };
    let settings = "memory: 128MiB\nstorage: {flush_bytes: 1MiB, wal_segment_bytes: 1MiB}\n";
    let home = Home::new(folder.path(), settings);
    let mut server = home.start(&[]).expect("the server starts");
    let agent = process::agent(Duration::from_secs(30));
    let write = |n: u32| home.write(&agent, &request(n)).expect("an answer");
    let count = || home.sql("SELECT count(*) FROM samples")[0].parse::<u32>().unwrap();
    let mut sent = 0;
    while sent < 10 {
        assert!((200..=299).contains(&write(sent)));
        sent += 1;
    }
    breaks(&home);
    while (200..=299).contains(&write(sent)) {
        sent += 1;
        assert!(sent < REQUESTS_MAX, "writes were never refused");
    }
    for _ in 0..3 {
        assert_eq!(write(sent), 503, "writes are refused as long as it is so");
    }
    assert_eq!(count(), sent * SERIES, "reads go on");
    while_broken(&home);
    assert_eq!(count(), sent * SERIES, "reads go on");

    mends(&home);
    let taken = eventually(|| (200..=299).contains(&write(sent)).then_some(()));
    assert!(taken.is_some(), "writes go on by themselves: {}", server.log_tail());
    sent += 1;
    // Twice, as a sender does that missed the answers.
    for n in sent - 5..sent + 50 {
        assert!((200..=299).contains(&write(n)), "request {n}: {}", server.log_tail());
    }
    sent += 50;
    assert_eq!(count(), sent * SERIES, "each sample once");
    server.kill();
    server = home.start(&[]).expect("the server starts again");
    assert_eq!(count(), sent * SERIES, "each sample once, after a crash");
    home.flush();
    assert_eq!(count(), sent * SERIES);
    drop(server);
}

#[test]
fn a_full_disk_refuses_writes_and_takes_them_again_when_there_is_room() {
    let filler = |home: &Home| home.folder.join("filler");
    writes_go_on_when_it_is_over(
        |home| fs::write(filler(home), vec![1; 36 << 20]).unwrap(),
        // A sort that needs more than the memory of queries, and so the disk.
        |home| {
            let sql = "SELECT i FROM generate_series(1, 20000000) AS t(i) ORDER BY i % 7919, -i LIMIT 900000 OFFSET 9";
            let error = home.ask(sql, "csv").expect_err("there is no room for what does not fit in memory");
            assert!(error.contains("space") || error.contains("memory"), "{error}");
        },
        |home| fs::remove_file(filler(home)).unwrap(),
    );
}

#[test]
fn lost_permission_refuses_writes_until_it_is_back() {
    let protect = |home: &Home, how: &str| {
        for folder in ["wal", "tables"] {
            run("chattr", &["-R", how], &home.data().join(folder));
        }
    };
    writes_go_on_when_it_is_over(|home| protect(home, "+i"), |_| {}, |home| protect(home, "-i"));
}

#[test]
fn a_start_on_a_read_only_disk_is_refused_with_the_reason_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_small) = Small::mount(folder.path(), "48m") else { return };
    let home = Home::new(folder.path(), "storage: {wal_segment_bytes: 1MiB}\n");
    let server = home.start(&[]).expect("the server starts");
    let agent = process::agent(Duration::from_secs(30));
    assert_eq!(home.write(&agent, &request(0)).unwrap(), 204);
    assert!(server.terminate().success());

    run("mount", &["-o", "remount,ro"], folder.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamgauge"));
    let output = command
        .args(["serve", "--pg-listen", "off", "--flight-listen", "off", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(home.data())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).to_lowercase()).concat();
    assert!(!output.status.success());
    assert!(said.contains("read-only") && said.contains(&home.data().to_string_lossy().to_lowercase()), "{said}");
    run("mount", &["-o", "remount,rw"], folder.path());
    let _server = home.start(&[]).expect("the server starts again");
    assert_eq!(home.sql("SELECT count(*) FROM samples"), [SERIES.to_string()]);
}
