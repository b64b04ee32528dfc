//! Durations as they are read and written.

use super::*;

#[test]
fn units_stand_in_order_and_once() {
    assert_eq!(read("1y2w3d4h5m6s7ms"), Ok(31_536_000_000 + 1_209_600_000 + 259_200_000 + 14_706_007));
    assert_eq!((read("0"), read("90m"), read("0s")), (Ok(0), Ok(5_400_000), Ok(0)));
    for malformed in ["", "5", "m", "5m1h", "5m5m", "1.5h", "-5m", "5 m", "5M", "1h5", "5µs"] {
        assert!(read(malformed).is_err(), "{malformed}");
    }
    assert_eq!(read("292y").map(format).as_deref(), Ok("292y"));
    assert_eq!(read("293y"), Err("duration out of range".to_owned()));
    assert_eq!(read("5hs"), Err("unknown unit \"hs\" in duration \"5hs\"".to_owned()));
}

#[test]
fn durations_are_written_as_they_are_easiest_to_read() {
    for (milliseconds, written) in [
        (0, "0s"),
        (1, "1ms"),
        (90_061_001, "1d1h1m1s1ms"),
        (7_776_000_000, "90d"),
        (1_209_600_000, "2w"),
        (31_536_000_000, "1y"),
        (31_536_000_000 + 604_800_000, "372d"),
        (31_536_000_000 + 1000, "365d1s"),
        (-5_400_000, "-1h30m"),
    ] {
        assert_eq!(format(milliseconds), written);
    }
}
