use std::ffi::OsStr;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::site::{Made, Occupied, Site};
use super::switch::{gateway, ip};
use crate::command::Run;

/// No command of a test takes longer; one at a host that hangs would never end.
const LONGEST: &str = "180";

/// A Docker host.
pub struct Host {
    site: Site,
    number: u8,
    folder: PathBuf,
}

impl Host {
    pub(super) fn new(site: &Occupied, number: u8) -> Self {
        let host = Self { site: site.site().clone(), number, folder: PathBuf::new() };
        Self { folder: site.folder().join(host.name()), ..host }
    }

    /// Makes one that is off.
    pub(super) fn make(site: &Occupied, number: u8) -> Self {
        site.note(&Made::Host(number));
        let host = Self::new(site, number);
        fs::create_dir_all(&host.folder).unwrap();
        host
    }

    /// Gives it a network, with nothing in it but its cable.
    pub(super) fn plug_in(&self) {
        let (name, switch) = (self.namespace(), self.site.name());
        for line in [
            format!("netns add {name}"),
            // A machine keeps its card, and others remember that for a while.
            format!("link add {name} type veth peer name eth0 address {} netns {name}", self.card()),
            format!("link set {name} master {switch} up"),
            format!("-n {name} addr add {}/24 dev eth0", self.address()),
            format!("-n {name} link set eth0 up"),
            format!("-n {name} link set lo up"),
            format!("-n {name} route add default via {}", gateway(&self.site)),
        ] {
            ip(&line).ok();
        }
    }

    /// Takes its network away, with every device and rule in it; what of it is not there does not matter.
    pub(super) fn unplug(&self) {
        ip(&format!("link del {}", self.namespace()));
        ip(&format!("netns del {}", self.namespace()));
    }

    /// Removes it with all that is on it; what of it is not there does not matter.
    pub(super) fn remove(&self) {
        self.power_off();
        self.remove_groups();
    }

    /// Its number, from 1.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Its host name: `h1`, `h2`, …
    pub fn name(&self) -> String {
        format!("h{}", self.number)
    }

    /// Its address, for other hosts and for this machine.
    pub fn address(&self) -> Ipv4Addr {
        self.site.address(self.number)
    }

    /// The hardware address of its card: its address with 02:47 before it, which nobody else has.
    fn card(&self) -> String {
        let bytes = self.address().octets().map(|byte| format!("{byte:02x}"));
        format!("02:47:{}", bytes.join(":"))
    }

    /// A page on one of its ports.
    pub fn url(&self, port: u16, path: &str) -> String {
        format!("http://{}:{port}{path}", self.address())
    }

    /// Where its files lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of its network namespace.
    pub fn network(&self) -> String {
        format!("/run/netns/{}", self.namespace())
    }

    /// The name of its network namespace, and of its cable's end at the switch.
    pub(super) fn namespace(&self) -> String {
        format!("{}{}", self.site.name(), self.number)
    }

    /// The control group that all its containers are in.
    pub(super) fn group(&self) -> String {
        format!("/{}/{}", self.site.name(), self.name())
    }

    /// A folder that every host has at the same path, each with files of its own, until it is switched off:
    /// the path, and where this machine finds this host's.
    pub fn own_folder(&self, name: &str) -> (PathBuf, PathBuf) {
        let (path, own) = (self.site.folder().join(name), self.folder.join(name));
        for folder in [&path, &own] {
            fs::create_dir_all(folder).unwrap();
        }
        // Every host has mounts of its own.
        if Run::of(self.command("mountpoint").arg("-q").arg(&path)).code != Some(0) {
            Run::of(self.command("mount").arg("--bind").args([&own, &path])).ok();
        }
        (path, own)
    }

    /// Where its engine listens, as `DOCKER_HOST` has it.
    pub fn docker_host(&self) -> String {
        format!("unix://{}/docker.sock", self.folder.display())
    }

    /// Runs `docker` on it, which must succeed.
    #[track_caller]
    pub fn docker<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        self.docker_may_fail(args).ok().trim().to_owned()
    }

    /// Runs `docker` on it.
    pub fn docker_may_fail<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Run {
        let mut command = Command::new("timeout");
        command.args([LONGEST, "docker"]).args(args);
        Run::of(command.env("DOCKER_HOST", self.docker_host()).env_remove("DOCKER_CONTEXT"))
    }

    /// A program of this machine's, run as one of the host's processes.
    #[track_caller]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("timeout");
        command.arg(LONGEST).args(self.inside()).arg(program);
        command
    }

    /// A program of this machine's, run with the network of one of the host's containers.
    #[track_caller]
    pub fn command_in(&self, container: &str, program: &str) -> Command {
        let id = self.docker(["inspect", "-f", "{{.State.Pid}}", container]);
        // The number is the host's own.
        let mut command = self.command("nsenter");
        command.arg(format!("--net=/proc/{id}/ns/net")).arg(program);
        command
    }
}
