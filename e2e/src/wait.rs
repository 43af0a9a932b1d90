use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// Waits until `look` finds something, and answers with it. After half a minute the test fails.
#[track_caller]
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, look)
}

/// As [`eventually`], with another deadline.
#[track_caller]
#[allow(clippy::disallowed_methods)] // The one place that polls.
pub fn eventually_within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {} s: {what}", patience.as_secs());
        std::thread::sleep(POLL);
    }
}

/// As [`eventually_within`], for what can say why it is not yet so: the last word is part of the failure.
#[track_caller]
#[allow(clippy::disallowed_methods)]
pub fn comes_true<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        let seen = match look() {
            Ok(found) => return found,
            Err(seen) => seen,
        };
        assert!(Instant::now() < deadline, "not within {} s: {what}; last seen: {seen}", patience.as_secs());
        std::thread::sleep(POLL);
    }
}

/// Looks all the time, for so long, that something stays as it is.
#[track_caller]
#[allow(clippy::disallowed_methods)] // It looks at moments.
pub fn throughout(time: Duration, what: &str, mut look: impl FnMut() -> Result<(), String>) {
    let began = Instant::now();
    while began.elapsed() < time {
        if let Err(seen) = look() {
            panic!("{what}: no longer after {:.1} s: {seen}", began.elapsed().as_secs_f64());
        }
        std::thread::sleep(POLL);
    }
}

/// Lets some time pass: for faults at chosen moments, never to wait for something.
#[allow(clippy::disallowed_methods)]
pub fn after(time: Duration) {
    std::thread::sleep(time);
}
