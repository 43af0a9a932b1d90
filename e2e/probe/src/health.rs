//! Health on demand: what this process says of itself when it is asked.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::fetch;

/// What `GET /health` answers, until this process ends.
static STATUS: AtomicU16 = AtomicU16::new(200);

/// Answers what is asked about health; `None` if `path` is about something else.
///
/// `/health` has the status that `/health?status=CODE` has set, whatever the method of either.
/// `/well/FOLDER` is a failure while the folder has a file `all`, or one of this container's host name.
/// `/with/HOST:PORT` is a failure unless a page is served there.
pub fn answer(path: &str) -> Option<(&'static str, String)> {
    if let Some(code) = path.strip_prefix("/health?status=") {
        let code = code.parse().unwrap_or(200);
        STATUS.store(code, Ordering::Relaxed);
        // Into the log, too, where it stands beside what followed from it.
        println!("health is {code} from now on");
        Some(("200 OK", String::new()))
    } else if path == "/health" {
        Some(match STATUS.load(Ordering::Relaxed) {
            200 => ("200 OK", "well".to_owned()),
            code => ("503 Service Unavailable", format!("as bad as {code}")),
        })
    } else if let Some(folder) = path.strip_prefix("/well") {
        let name = fs::read_to_string("/etc/hostname").unwrap_or_default();
        let ill = ["all", name.trim()].iter().find(|name| Path::new(folder).join(name).exists()).copied();
        Some(ill.map_or_else(|| good("well"), |name| bad(format!("{folder} has {name}"))))
    } else {
        let other = path.strip_prefix("/with/")?;
        Some(fetch(other).map_or_else(|| bad(format!("{other} serves nothing")), |_| good("both are well")))
    }
}

fn good(words: &str) -> (&'static str, String) {
    ("200 OK", words.to_owned())
}

fn bad(words: String) -> (&'static str, String) {
    ("503 Service Unavailable", words)
}
