//! A real scheduler with a CA, on free ports, that can be stopped and started again on its folder.

#![allow(dead_code)] // Each test uses another part of it.

pub mod watchdog;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Parser as _;
use gantry_boot::{connect, connect_lazy, install_crypto};
use gantry_identity::{Authority, Bundle, Grant, Identity, Role};
use gantry_model::ClusterId;
use gantry_scheduler::config::Config;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

pub const PATIENCE: Duration = Duration::from_secs(20);

/// A scheduler that can be stopped and started again on its folder.
pub struct Scheduler {
    folder: TempDir,
    pub authority: Authority,
    pub address: SocketAddr,
    admin: SocketAddr,
    more: Vec<String>,
    running: Option<(CancellationToken, JoinHandle<()>)>,
}

/// A port that nobody has at this moment.
pub fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub fn cluster() -> ClusterId {
    ClusterId::new("c1").unwrap()
}

impl Scheduler {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With more arguments.
    pub async fn start_with(more: &[&str]) -> Self {
        install_crypto();
        let authority = Authority::create(&cluster(), SystemTime::now()).unwrap();
        let mut scheduler = Self::prepare(authority, more);
        scheduler.resume().await;
        scheduler
    }

    /// A folder with a CA and no state.
    pub fn prepare(authority: Authority, more: &[&str]) -> Self {
        install_crypto();
        let folder = TempDir::new().unwrap();
        let ca = folder.path().join("ca");
        std::fs::create_dir(&ca).unwrap();
        std::fs::write(ca.join("ca.pem"), authority.certificate()).unwrap();
        std::fs::write(ca.join("ca.key"), authority.key()).unwrap();
        let more = more.iter().map(|argument| (*argument).to_owned()).collect();
        let (address, admin) = (free_port(), free_port());
        let scheduler = Self { folder, authority, address, admin, more, running: None };
        scheduler.bundle(Role::Scheduler, "scheduler").save(&scheduler.path("identity")).unwrap();
        scheduler
    }

    pub fn path(&self, name: &str) -> PathBuf {
        Path::join(self.folder.path(), name)
    }

    pub async fn resume(&mut self) {
        let mut arguments = vec![
            "scheduler".to_owned(),
            format!("--listen={}", self.address),
            format!("--admin={}", self.admin),
            format!("--advertise={}", self.address),
            format!("--data={}", self.folder.path().display()),
            format!("--identity={}", self.path("identity").display()),
        ];
        arguments.extend(self.more.clone());
        let config = Config::try_parse_from(arguments).unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        // Here the sessions of the run before live on for a moment; those of a process end with it.
        let task = tokio::spawn(async move {
            loop {
                match gantry_scheduler::run(config.clone(), stopped.clone()).await {
                    Err(error) if format!("{error:?}").contains("InUse") => {
                        sleep(Duration::from_millis(20)).await;
                    }
                    ended => return ended.unwrap(),
                }
            }
        });
        self.running = Some((stop, task));
        let (address, own) = (self.address.to_string(), self.bundle(Role::Admin, "ada"));
        let up = async || connect(&address, Role::Scheduler, "", &own).await.ok();
        eventually("a scheduler that answers", up).await;
    }

    pub async fn stop(&mut self) {
        let (stop, task) = self.running.take().unwrap();
        stop.cancel();
        task.await.unwrap();
    }

    pub fn bundle(&self, role: Role, name: &str) -> Bundle {
        let identity = Identity { cluster: cluster(), role, name: name.into() };
        let from = SystemTime::now() - Duration::from_mins(1);
        let grant =
            Grant { identity, hosts: vec!["127.0.0.1".into()], from, lifetime: Duration::from_hours(1) };
        self.authority.issue(&grant).unwrap()
    }

    pub fn channel(&self, role: Role, name: &str) -> Channel {
        self.channel_of(&self.bundle(role, name))
    }

    pub fn channel_of(&self, own: &Bundle) -> Channel {
        connect_lazy(&self.address.to_string(), Role::Scheduler, "", own).unwrap()
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        if let Some((stop, _)) = &self.running {
            stop.cancel();
        }
    }
}

/// Waits until `holds` answers with something.
pub async fn eventually<T>(what: &str, holds: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, holds).await
}

/// Waits until `holds` answers with something, for `time` at most.
pub async fn eventually_within<T>(time: Duration, what: &str, holds: impl AsyncFnMut() -> Option<T>) -> T {
    timeout(time, first(holds)).await.unwrap_or_else(|_| panic!("{what} did not come in {time:?}"))
}

/// Sees that `holds` answers with nothing for all of `time`.
pub async fn never_within<T>(time: Duration, what: &str, holds: impl AsyncFnMut() -> Option<T>) {
    assert!(timeout(time, first(holds)).await.is_err(), "{what} came");
}

/// What `holds` answers with first; it is asked again and again.
async fn first<T>(mut holds: impl AsyncFnMut() -> Option<T>) -> T {
    let mut again = interval(Duration::from_millis(20));
    loop {
        again.tick().await;
        if let Some(found) = holds().await {
            return found;
        }
    }
}
