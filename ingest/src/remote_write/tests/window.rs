//! The present as the clock jumps.

use crate::remote_write::{
    Window,
    tests::{HOUR_MS, NOW_MS, limits},
    window::Steady,
};

/// Is a sample taken that an honest sender stamped with the true time, while our clock says something else?
fn takes(steady: &mut Steady, clock_ms: i64, true_ms: i64) -> bool {
    Window::between(clock_ms, steady.at(clock_ms), &limits()).outside(true_ms).is_none()
}

#[test]
fn a_clock_set_back_by_an_hour_refuses_nothing_that_is_sent_now() {
    let mut steady = Steady::new();
    assert!(takes(&mut steady, NOW_MS, NOW_MS));
    for minute in 0..600 {
        let true_ms = NOW_MS + minute * 60_000;
        assert!(takes(&mut steady, true_ms - HOUR_MS, true_ms), "minute {minute}");
    }
    // Set right again, it is taken too, and after a day it is believed again.
    let true_ms = NOW_MS + 601 * 60_000;
    assert!(takes(&mut steady, true_ms, true_ms));
    let true_ms = NOW_MS + 25 * HOUR_MS;
    assert!(takes(&mut steady, true_ms, true_ms) && !takes(&mut steady, true_ms, true_ms + 601_000));
}

#[test]
fn a_clock_set_forward_by_an_hour_and_back_refuses_nothing_that_is_sent_now() {
    let mut steady = Steady::new();
    for minute in 0..600 {
        let true_ms = NOW_MS + minute * 60_000;
        let wrong = if (60..120).contains(&minute) { HOUR_MS } else { 0 };
        assert!(takes(&mut steady, true_ms + wrong, true_ms), "minute {minute}");
    }
    let true_ms = NOW_MS + 48 * HOUR_MS;
    assert!(!takes(&mut steady, true_ms, true_ms + 601_000), "the hour is not kept for ever");
}

#[test]
fn what_is_kept_for_as_long_as_the_retention_is_not_refused_for_a_clock_set_back() {
    let mut steady = Steady::new();
    let oldest_ms = NOW_MS - limits().retention_ms;
    assert!(takes(&mut steady, NOW_MS, oldest_ms));
    assert!(takes(&mut steady, NOW_MS - HOUR_MS, oldest_ms - HOUR_MS));
}

#[test]
fn small_steps_back_do_not_add_up() {
    let mut steady = Steady::new();
    let mut clock_ms = NOW_MS;
    for _ in 0..100_000 {
        // As threads that read the clock one after the other and come here in another order.
        steady.at(clock_ms + 2);
        steady.at(clock_ms);
        clock_ms += 5;
    }
    assert!((clock_ms..=clock_ms + 2).contains(&steady.at(clock_ms)));
}

#[test]
fn a_clock_that_goes_to_and_fro_is_not_run_away_from() {
    let mut steady = Steady::new();
    for minute in 0..600 {
        let true_ms = NOW_MS + minute * 60_000;
        let wrong = if minute % 2 == 1 { HOUR_MS } else { 0 };
        assert!(takes(&mut steady, true_ms - wrong, true_ms), "minute {minute}");
        assert!(steady.at(true_ms - wrong) <= true_ms - wrong + HOUR_MS);
    }
}

#[test]
fn a_clock_that_was_years_ahead_is_believed_when_it_is_set_right() {
    let mut steady = Steady::new();
    steady.at(NOW_MS + 10 * 365 * 24 * HOUR_MS);
    assert_eq!(steady.at(NOW_MS), NOW_MS);
    assert!(takes(&mut steady, NOW_MS, NOW_MS));
}
