//! What a server may answer, and what may be sent: nothing counts as written that was not, and nothing is sent for ever.

use super::*;

/// Headers that say how much was written.
pub(super) fn written(samples: usize, histograms: usize, exemplars: usize) -> String {
    [("Samples", samples), ("Histograms", histograms), ("Exemplars", exemplars)]
        .map(|(kind, count)| format!("\r\nX-Prometheus-Remote-Write-{kind}-Written: {count}"))
        .concat()
}

/// The answer of a server that takes as much.
pub(super) fn taken(status: &str, samples: usize) -> &'static str {
    format!("{status}{}", written(samples, 0, 0)).leak()
}

#[test]
fn only_an_answer_that_says_what_was_written_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), &text(2, 10));
    let state = folder.path().join("state.json");
    let more = ["--state", state.to_str().unwrap()];
    let two = "204 No Content\r\nX-Prometheus-Remote-Write-Samples-Written: 20\r\nX-Prometheus-Remote-Write-Histograms-Written: 0";
    for (status, why) in [
        ("200 OK\r\nContent-Type: text/html", "no remote write 2.0 there"),
        (two, "no remote write 2.0 there"),
        ("400 Bad Request\r\nX-Prometheus-Remote-Write-Samples-Written: 15", "no remote write 2.0 there"),
        (taken("204 No Content", 19), "does not fit what was sent"),
        (taken("200 OK", 21), "does not fit what was sent"),
        (taken("400 Bad Request", 21), "does not fit what was sent"),
        (taken("201 Created", 20), "takes no requests"),
        ("302 Found\r\nLocation: /api/v1/write", "the server is elsewhere"),
        ("307 Temporary Redirect\r\nLocation: /api/v1/write", "the server is elsewhere"),
        (taken("202 Accepted", 20), "--drop-label"),
    ] {
        let (url, heard) = server(&[(status, "what the server says")]);
        let error = format!("{:#}", run(&path, &url, &more).unwrap_err());
        assert!(error.contains(why), "{status}: {error}");
        assert_eq!(heard.lock().unwrap().requests, 1, "{status}");
        // Another port is another import.
        fs::remove_file(&state).unwrap();
    }
    let (url, _) = server(&[(taken("200 OK", 20), "")]);
    assert_eq!(run(&path, &url, &more).unwrap().taken.samples, 20);
}

#[test]
fn labels_that_blocks_lack_are_added_and_that_of_a_replica_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path =
        file(folder.path(), "up{__replica__=\"a\",zone=\"b\"} 1 1\nup{__replica__=\"c\",zone=\"b\"} 1 2\n# EOF\n");
    let state = folder.path().join("state.json");
    let (url, heard) = server(&[]);
    let more = ["--state", state.to_str().unwrap(), "--label", "cluster=eu"];
    assert_eq!(run(&path, &url, &[&more[..], &["--dry-run"]].concat()).unwrap().series, Some(1));
    run(&path, &url, &more).unwrap();
    let name = "__name__ up cluster eu zone b";
    assert_eq!(heard.lock().unwrap().times, BTreeMap::from([(name.to_owned(), vec![1000, 2000])]));
    for changed in [&["--drop-label", ""][..], &["--label", "zone=c"]] {
        let error = run(&path, &url, &[&more[..], changed].concat()).unwrap_err().to_string();
        assert!(error.contains("state of another import"), "{error}");
    }
    let kept = run(&path, &url, &["--dry-run", "--drop-label", "zone"]).unwrap();
    assert_eq!(kept.series, Some(2), "only what is named is dropped");
}

#[test]
fn labels_and_help_that_fill_a_request_cost_themselves_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (long, help) = ("x".repeat(70 << 10), "h".repeat(3 << 20));
    let series = |name: &str, label: &str| format!("{name}{{l=\"{label}\"}} 1 1\n{name}{{l=\"{label}\"}} 2 2\n");
    let lines = [series("a", &long), format!("# HELP b {help}\n"), series("b", "é"), "# EOF\n".to_owned()];
    let path = file(folder.path(), &lines.concat());
    let state = folder.path().join("state.json");
    let (url, heard) = server(&[]);
    let outcome = run(&path, &url, &["--state", state.to_str().unwrap()]).unwrap();
    assert_eq!((outcome.taken.samples, outcome.refused, outcome.damaged), (2, 0, 1));
    let expected = ("__name__ b l é".to_owned(), vec![1000, 2000]);
    assert_eq!(heard.lock().unwrap().times, BTreeMap::from([expected]));
    let dry = run(&path, &url, &["--dry-run"]).unwrap();
    assert_eq!((dry.taken.samples, dry.series, dry.damaged), (2, Some(1), 1));
}
