//! What is noted of an import, and what a second one makes of it.

use std::os::unix::fs::PermissionsExt;

use super::{answers::taken, *};

#[test]
fn what_is_refused_is_counted_and_tried_again_until_it_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), &text(2, 10));
    let (url, _) = server(&[(taken("400 Bad Request", 15), "too old")]);
    let state = folder.path().join("state.json");
    let more = ["--state", state.to_str().unwrap()];
    let outcome = run(&path, &url, &more).unwrap();
    assert_eq!((outcome.taken.samples, outcome.refused, outcome.damaged), (15, 5, 0));
    let again = run(&path, &url, &more).unwrap();
    assert_eq!((again.taken.samples, again.refused, again.nothing_new), (20, 0, false));
    let third = run(&path, &url, &more).unwrap();
    assert_eq!((third.taken.samples, third.nothing_new, third.nothing_selected), (0, true, false));
}

#[test]
fn only_parts_of_which_something_was_refused_are_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    const SAMPLES: u64 = 100 * 40 * 144;
    let path = file(folder.path(), &text(100, 40 * 144));
    // Of the second request nothing is taken.
    let (url, heard) = server(&[("204 No Content", ""), (taken("400 Bad Request", 0), "no")]);
    let state = folder.path().join("state.json");
    let more = ["--state", state.to_str().unwrap(), "--concurrency", "1"];
    let outcome = run(&path, &url, &more).unwrap();
    assert_eq!(outcome.taken.samples + outcome.refused, SAMPLES);
    assert!(outcome.refused > 10_000, "{}", outcome.refused);
    let again = run(&path, &url, &more).unwrap();
    assert!(again.taken.samples >= outcome.refused && again.taken.samples < SAMPLES / 2, "{}", again.taken.samples);
    let heard = heard.lock().unwrap();
    for times in heard.times.values() {
        let mut times = times.clone();
        times.sort_unstable();
        times.dedup();
        assert_eq!(times.len(), 40 * 144);
    }
    drop(heard);
    assert!(run(&path, &url, &more).unwrap().nothing_new);
}

#[test]
fn lines_that_are_wrong_are_told_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), &(text(2, 10).replace("# EOF\n", "walk x 1\nwalk 1\n# EOF\n")));
    let (url, _) = server(&[]);
    let state = folder.path().join("state.json");
    let more = ["--state", state.to_str().unwrap()];
    for samples in [20, 0] {
        let outcome = run(&path, &url, &more).unwrap();
        assert_eq!((outcome.taken.samples, outcome.damaged, outcome.nothing_new), (samples, 2, false));
        let arguments = ["import", "x"];
        let told = Command::parse_from(arguments).prometheus.tell(&outcome).unwrap_err().to_string();
        assert!(told.contains("not everything was taken") && told.contains("left_out=2"), "{told}");
    }
}

#[test]
fn nothing_selected_is_not_all_imported() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), &text(2, 10));
    let (url, heard) = server(&[]);
    let state = folder.path().join("state.json");
    let more = ["--state", state.to_str().unwrap(), "--match", "wlak"];
    for _ in 0..2 {
        let outcome = run(&path, &url, &more).unwrap();
        assert_eq!((outcome.nothing_selected, outcome.nothing_new), (true, false));
    }
    assert!(run(&path, &url, &["--dry-run", "--end", "1"]).unwrap().nothing_selected);
    assert_eq!(heard.lock().unwrap().requests, 0);
}

#[test]
fn passwords_are_sent_and_stay_out_of_state_and_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), &text(2, 10));
    let (url, heard) = server(&[("401 Unauthorized", "who is it?")]);
    let state = folder.path().join("state.json");
    let more = ["--state", state.to_str().unwrap()];
    fs::write(folder.path().join("state.json.new"), "left behind").unwrap();
    let to = url.replace("http://", "HTTP://me:s3c%72et@");
    let error = format!("{:#}", run(&path, &to, &more).unwrap_err());
    assert!(error.contains("who is it?") && error.contains(&url) && !error.contains("s3c"), "{error}");
    run(&path, &to, &more).unwrap();
    // `me:s3cret`
    assert_eq!(heard.lock().unwrap().authorizations, ["Basic bWU6czNjcmV0"; 2]);
    let noted = fs::read_to_string(&state).unwrap();
    assert!(noted.contains(&url) && !noted.contains("s3c"), "{noted}");
    assert_eq!(state.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    for (source, to) in
        [("http://me:s3c/ret@host", &*url), ("me:s3cret@host:9090", &url), ("-", "http://me:s3c/ret@host")]
    {
        let error = format!("{:#}", run_with(source, to, &more, "").map(|_| ()).unwrap_err());
        assert!(!error.contains("s3c"), "{error}");
    }
}

#[test]
fn a_state_of_stdin_is_of_one_text() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.json");
    let (url, heard) = server(&[]);
    let more = ["--state", state.to_str().unwrap()];
    // Longer than what tells it apart.
    let first = text(3, 2000);
    assert!(first.len() > 80_000);
    assert_eq!(run_with("-", &url, &more, &first).unwrap().taken.samples, 6000);
    assert_eq!(heard.lock().unwrap().times["__name__ walk series 02"].len(), 2000);
    assert!(run_with("-", &url, &more, &first).unwrap().nothing_new);
    let error = run_with("-", &url, &more, &first.replacen("} 0 ", "} 7 ", 1)).unwrap_err().to_string();
    assert!(error.contains("stdin brings another text"), "{error}");
    let short = text(1, 1);
    assert!(run_with("-", &url, &more, &short).is_err());
    // Without a state it is not known, and is read whole.
    assert_eq!(run_with("-", &url, &[], &short).unwrap().taken.samples, 1);
}
