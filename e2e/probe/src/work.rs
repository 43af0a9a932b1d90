//! Work on demand: what a request costs here, or in what this process stands for, and a number to scale by.

use std::fs;
use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// How many requests for `/crowded` this process has.
static CROWD: AtomicU32 = AtomicU32::new(0);
/// When the last request for `/serial` so far will be done.
static BUSY_UNTIL: Mutex<Option<Instant>> = Mutex::new(None);
/// What `/metrics` says that waits.
static JOBS: AtomicU64 = AtomicU64::new(0);

/// Does the work that is asked for; `None` if `path` is about something else.
///
/// `/burn?ms=MILLIS` takes so much processor time. `/crowded/MILLIS` takes so long for each of the requests that
/// this process has at once, as something whose parts wait for each other. `/serial/MILLIS` takes so long, one request
/// after the other, as a lock of a database. `/metrics` has the number that `/metrics?jobs=NUMBER` has set, in
/// Prometheus' text format.
pub fn answer(path: &str) -> Option<(&'static str, String)> {
    if let Some(millis) = path.strip_prefix("/burn?ms=") {
        burn(time(millis));
    } else if let Some(millis) = path.strip_prefix("/crowded/") {
        let all = CROWD.fetch_add(1, Ordering::Relaxed) + 1;
        thread::sleep(time(millis) * all);
        CROWD.fetch_sub(1, Ordering::Relaxed);
    } else if let Some(millis) = path.strip_prefix("/serial/") {
        thread::sleep(turn(time(millis)));
    } else if let Some(jobs) = path.strip_prefix("/metrics?jobs=") {
        JOBS.store(jobs.parse().unwrap_or(0), Ordering::Relaxed);
    } else if path == "/metrics" {
        let jobs = JOBS.load(Ordering::Relaxed);
        let help = "# HELP probe_jobs_waiting Jobs that wait, as the test has set it.\n# TYPE probe_jobs_waiting gauge\n";
        return Some((
            "200 OK",
            format!(
                "{help}probe_jobs_waiting{{queue=\"mail\"}} {jobs}\nprobe_jobs_waiting{{queue=\"none\"}} 7\n"
            ),
        ));
    } else {
        return None;
    }
    Some(("200 OK", fs::read_to_string("/etc/hostname").unwrap_or_default()))
}

fn time(millis: &str) -> Duration {
    Duration::from_millis(millis.parse().unwrap_or(0))
}

/// How long a request waits until all before it, and then itself, are done.
fn turn(takes: Duration) -> Duration {
    let now = Instant::now();
    let Ok(mut busy) = BUSY_UNTIL.lock() else { return takes };
    let done = busy.map_or(now, |until| until.max(now)) + takes;
    *busy = Some(done);
    done - now
}

/// Has the processor work for this thread for so long, however many others want it. It is asked each few
/// microseconds, by a clock that is exact: what `/proc` says is as old as the last tick, which can be most of `wanted`.
fn burn(wanted: Duration) {
    let before = used();
    let mut number: u64 = 1;
    while used().saturating_sub(before) < wanted {
        for _ in 0..5_000 {
            number = black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
}

/// The processor time of this thread so far.
fn used() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_that_was_set_is_told() {
        assert!(answer("/metrics").unwrap().1.contains("probe_jobs_waiting{queue=\"mail\"} 0\n"));
        answer("/metrics?jobs=90").unwrap();
        assert!(answer("/metrics").unwrap().1.contains("probe_jobs_waiting{queue=\"mail\"} 90\n"));
        assert_eq!(answer("/env/PATH"), None);
    }

    #[test]
    fn who_comes_later_waits_for_who_came_before() {
        let takes = Duration::from_mins(1);
        let (first, second) = (turn(takes), turn(takes));
        assert!(first <= takes && second > takes, "{first:?}, {second:?}");
    }

    #[test]
    fn processor_time_is_used() {
        let (began, wanted, before) = (Instant::now(), Duration::from_millis(30), used());
        burn(wanted);
        let used = used().saturating_sub(before);
        assert!(used >= wanted && used < wanted * 2, "{used:?}");
        assert!(began.elapsed() >= wanted, "nor can it have taken less time on the wall");
    }
}
