//! More than the server can take: senders that do not wait, connections that do nothing, bodies that trickle in. What it cannot take it
//! refuses at once; what it accepts it keeps; its memory stays bounded; and when it is over, it is as it was.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use crate::support::{
    process::{self, Home},
    server::{eventually, now_ms},
    wire::{self, v1},
};

const SENDERS: u32 = 16;
const SERIES: u32 = 2_000;
/// Connections that do nothing; `STREAMGAUGE_CROWD=10000` for more, which takes a minute.
const IDLE: u64 = 2_000;
const SLOW: usize = 50;
/// Tenths of a second that the crowd stays.
const CROWD_TENTHS: u32 = 80;

/// Request `n` of a sender.
fn request(sender: u32, n: u32, base_ms: i64) -> Vec<u8> {
    let (sender, at_ms) = (sender.to_string(), base_ms + i64::from(n) * 1000);
    let series = |id: u32| {
        let value = (f64::from(id * 7919 + n * 104_729) + 0.5).sqrt();
        v1::series(&[("__name__", "load"), ("id", &id.to_string()), ("sender", &sender)], &[(at_ms, value)])
    };
    wire::snappy(&v1::WriteRequest { timeseries: (0..SERIES).map(series).collect(), metadata: Vec::new() })
}

fn peak_mib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024
}

#[test]
fn a_crowd_is_refused_what_cannot_be_taken_and_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    // A small budget is full soon.
    let home = Home::new(folder.path(), "memory: 160MiB\n");
    let server = home.start(&[]).expect("the server starts");
    let address = home.url("").replace("http://", "");
    let over = Arc::new(AtomicBool::new(false));
    let base_ms = now_ms() - 3_600_000;
    let (accepted, refused) = (AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (over, home, accepted, refused) = (Arc::clone(&over), &home, &accepted, &refused);
            scope.spawn(move || {
                let agent = process::agent(Duration::from_secs(10));
                let mut n = 0;
                while !over.load(Ordering::Relaxed) {
                    match home.write(&agent, &request(sender, n, base_ms)) {
                        Ok(200..=299) => {
                            accepted.fetch_add(1, Ordering::Relaxed);
                            n += 1;
                        }
                        Ok(status) => {
                            assert!(matches!(status, 429 | 503), "status={status}");
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                        // No seat; the sample may be there or not, and the next round sends it again.
                        Err(_) => thread::sleep(Duration::from_millis(50)),
                    }
                }
            });
        }
        thread::sleep(Duration::from_millis(300));
        let crowd: Vec<TcpStream> = (0..process::setting("STREAMGAUGE_CROWD", IDLE))
            .filter_map(|_| TcpStream::connect(&address).ok())
            .collect();
        let slow: Vec<TcpStream> = (0..SLOW).filter_map(|_| TcpStream::connect(&address).ok()).collect();
        let head = format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", wire::PATH);
        slow.iter().for_each(|mut stream| drop(stream.write_all(head.as_bytes())));
        for _ in 0..CROWD_TENTHS {
            slow.iter().for_each(|mut stream| drop(stream.write_all(b"x")));
            thread::sleep(Duration::from_millis(100));
        }
        over.store(true, Ordering::Relaxed);
        drop((crowd, slow));
    });
    let (accepted, refused) = (accepted.into_inner(), refused.into_inner());
    assert!(accepted > SENDERS, "those who had a seat were served, accepted={accepted} refused={refused}");
    let peak = peak_mib(server.id());
    // The budget, the process itself, and what a merge of sixteen files of values that no encoding makes small holds.
    assert!(peak < 640, "memory is bounded: {peak} MiB");

    // Nobody has to wait for what the crowd left behind.
    let healthy = || {
        let mut stream = TcpStream::connect(&address).ok()?;
        stream.write_all(b"GET /-/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200 ").then_some(())
    };
    assert!(eventually(healthy).is_some(), "ready again: {}", server.log_tail());
    let agent = process::agent(Duration::from_secs(60));
    let written = eventually(|| home.write(&agent, &request(SENDERS, 0, base_ms)).ok().filter(|status| *status == 204));
    assert!(written.is_some(), "writes are taken again");
    // What was accepted is there; of a request whose answer was lost at most all of it is.
    let count = home.sql("SELECT count(*) FROM samples")[0].parse::<u32>().unwrap();
    let least = (accepted + 1) * SERIES;
    assert!((least..=least + SENDERS * SERIES).contains(&count), "count={count} least={least}");
    let sql = "SELECT count(*) FROM (SELECT labels['sender'], timestamp FROM metrics WHERE labels['id'] = '7' \
               GROUP BY 1, 2 HAVING count(*) > 1)";
    let twice = home.sql(sql);
    assert_eq!(twice, ["0"]);
}
