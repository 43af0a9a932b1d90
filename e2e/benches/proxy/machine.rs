//! What all proxies of a run share: the folder in memory, the certificate, the backend, the ports and
//! the limits.

use std::cell::Cell;
use std::error::Error;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::daemon::{self, Daemon};
use super::peers::Kind;

/// The core of the proxy that is measured.
pub const PROXY_CORE: &str = "0";
/// The core of load and backend.
pub const LOAD_CORE: &str = "1";
/// The one cipher; the clients offer no other.
pub const CIPHER: &str = "TLS_AES_128_GCM_SHA256";

/// How the folders of runs are called; the process id follows.
const FOLDER: &str = "gantry-bench-";

/// The bodies that the backend serves: path and length.
pub const SMALL: (&str, usize) = ("/100", 100);
pub const MEDIUM: (&str, usize) = ("/10k", 10 << 10);
pub const LARGE: (&str, usize) = ("/1m", 1 << 20);

/// What a run needs on this machine; gone when it is dropped.
pub struct Machine {
    /// The backend's port.
    pub backend: u16,
    // Before the folder: the daemon writes into it until it has ended.
    _backend: Daemon,
    folder: TempDir,
    next_port: Cell<u16>,
}

impl Machine {
    /// Makes certificate and bodies, and starts the backend.
    pub fn prepare() -> Result<Self, Box<dyn Error>> {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        clear_left_behind(&place);
        let prefix = format!("{FOLDER}{}-", std::process::id());
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(place)?;
        let next_port = Cell::new(18_000);
        let backend = free_port(&next_port)?;
        certificate(folder.path())?;
        fs::write(folder.path().join("openssl.cnf"), client_settings())?;
        let daemon = start_backend(folder.path(), backend)?;
        Ok(Self { backend, _backend: daemon, folder, next_port })
    }

    /// A port that nobody has. Below the range from which clients get theirs.
    pub fn port(&self) -> Result<u16, Box<dyn Error>> {
        free_port(&self.next_port)
    }

    /// The path of a file of this run.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Removes what benches that were killed have left in memory.
fn clear_left_behind(place: &Path) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(FOLDER).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists()) {
            // It can be somebody else's, and does no harm.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn free_port(next: &Cell<u16>) -> Result<u16, Box<dyn Error>> {
    while next.get() < 32_000 {
        let port = next.replace(next.get() + 1);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no free port between 18000 and 32000".into())
}

fn certificate(folder: &Path) -> Result<(), Box<dyn Error>> {
    let made = Command::new("openssl")
        .current_dir(folder)
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .output()?;
    if !made.status.success() {
        return Err(format!("openssl: {}", String::from_utf8_lossy(&made.stderr)).into());
    }
    // haproxy wants both in one file.
    let both = [fs::read(folder.join("cert.pem"))?, fs::read(folder.join("key.pem"))?].concat();
    Ok(fs::write(folder.join("both.pem"), both)?)
}

/// Settings of OpenSSL for wrk, which has no option for ciphers. A server may choose by the client's
/// order, so that offering one is the only way to have the same everywhere.
fn client_settings() -> String {
    format!(
        "openssl_conf = init\n[init]\nssl_conf = ssl\n[ssl]\nsystem_default = defaults\n\
         [defaults]\nMinProtocol = TLSv1.3\nCiphersuites = {CIPHER}\n"
    )
}

/// An nginx that serves from memory.
fn start_backend(folder: &Path, port: u16) -> Result<Daemon, Box<dyn Error>> {
    for (path, length) in [MEDIUM, LARGE] {
        fs::write(folder.join(path.trim_start_matches('/')), vec![b'x'; length])?;
    }
    let small = "x".repeat(SMALL.1);
    let server = format!(
        "sendfile on; tcp_nopush on; open_file_cache max=10 inactive=10m; root {};
         server {{
             listen 127.0.0.1:{port} backlog=4096;
             location = {} {{ return 200 {small}; }}
         }}",
        folder.display(),
        SMALL.0
    );
    let config = folder.join("backend.conf");
    fs::write(&config, nginx_config(folder, "backend", &server))?;
    let daemon = Daemon::start("backend", LOAD_CORE, folder, &["nginx", "-c", &config.to_string_lossy()])?;
    daemon.wait_for(port)?;
    Ok(daemon)
}

/// The frame of an nginx with one worker and without what costs time, around `http`.
pub fn nginx_config(folder: &Path, name: &str, http: &str) -> String {
    let folder = folder.display();
    // As root it would give its worker to `nobody`, who may not read the folder.
    // nginx writes and at its end deletes the file of its process id: as root even /dev/null.
    format!(
        "daemon off; user root; worker_processes 1; pid {folder}/{name}.pid; error_log stderr error;
         events {{ worker_connections 11000; multi_accept on; }}
         http {{
             access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; tcp_nodelay on;
             client_body_temp_path {folder}/temp; proxy_temp_path {folder}/temp;
             fastcgi_temp_path {folder}/temp; uwsgi_temp_path {folder}/temp; scgi_temp_path {folder}/temp;
             {http}
         }}"
    )
}

/// Says so if others keep the processor busy: what they evict from its caches makes every request dearer.
pub fn warn_if_busy() -> Result<(), Box<dyn Error>> {
    let before = processor_times()?;
    daemon::rest(Duration::from_secs(1));
    let after = processor_times()?;
    let busy = 1.0 - (after.0 - before.0) / (after.1 - before.1).max(1.0);
    if busy > 0.1 {
        eprintln!(
            "warning: this machine is {:.0}% busy with other things: compare ratios only",
            busy * 100.0
        );
    }
    Ok(())
}

/// The idle time of all cores, and their whole time, in ticks.
fn processor_times() -> Result<(f64, f64), Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let times: Vec<f64> = line.split_whitespace().filter_map(|time| time.parse().ok()).collect();
    // The fourth and fifth: idle, and idle with a disk at work.
    Ok((times.iter().skip(3).take(2).sum(), times.iter().take(8).sum()))
}

/// Whether all programs are there, and what to do if not.
pub fn check_programs(kinds: &[Kind]) -> Result<(), Box<dyn Error>> {
    let of_peers = kinds.iter().filter_map(|kind| kind.program());
    let missing: Vec<_> = ["nginx", "wrk", "h2load", "openssl", "taskset", "prlimit", "setpriv"]
        .into_iter()
        .chain(of_peers)
        .filter(|name| daemon::find(name).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let all = "apt-get install -y nginx haproxy wrk nghttp2-client openssl util-linux";
    Err(format!("not installed: {}\n  run: {all}", missing.join(", ")).into())
}
