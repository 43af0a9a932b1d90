//! Real Docker hosts on one machine, each of which can be cut off, frozen and switched off.
//!
//! A host is a network namespace with a cable to a switch (a bridge in the machine's own namespace), and
//! in it a process tree of its own with its own mounts, host name and Docker Engine. So switching a host
//! off is to end one process, and then nothing of it is left. What is made is written down before it is
//! made: whoever comes next clears away what a killed run left.

mod clear;
mod engine;
mod host;
mod link;
mod many;
mod power;
pub(crate) mod process;
mod site;
mod stock;
mod switch;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{fs, thread};

pub use host::Host;
pub use many::HostCluster;
pub use site::Site;

use site::Occupied;

/// Some hosts at one switch: numbered from 1, with the addresses `.1`, `.2`, …; this machine is `.254`.
pub struct Hosts {
    all: Vec<Host>,
    site: Occupied,
    keep: bool,
}

impl Hosts {
    /// Starts so many for a test, with engines that have Gantry's and the tests' images. They are gone
    /// when this is dropped.
    pub fn start(count: u8) -> Self {
        Self::start_at(Site::tests(), count)
    }

    /// Starts so many at another place than the tests'. What was there before is removed.
    pub fn start_at(site: Site, count: u8) -> Self {
        assert!((1..=50).contains(&count), "{count} hosts are too few or too many");
        let site = site.occupy();
        clear::clear(&site);
        fs::create_dir_all(site.folder()).unwrap();
        let mut hosts = Self { all: Vec::new(), site, keep: false };
        switch::make(&hosts.site);
        for number in 1..=count {
            hosts.all.push(Host::make(&hosts.site, number));
        }
        let archive = stock::save(hosts.site.folder());
        thread::scope(|scope| {
            for host in &hosts.all {
                let archive = archive.as_path();
                scope.spawn(move || {
                    host.power_on();
                    stock::load(host, archive);
                });
            }
        });
        hosts
    }

    /// Those that an earlier process left running there; `None` if there are none.
    pub fn at(site: Site) -> Option<Self> {
        let site = site.occupy();
        let all: Vec<_> = site.hosts().into_iter().map(|number| Host::new(&site, number)).collect();
        (!all.is_empty()).then_some(Self { all, site, keep: true })
    }

    /// Leaves them running when this is dropped.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    /// Removes them, also those that were to be kept.
    pub fn remove(mut self) {
        self.keep = false;
    }

    /// One of them; the first is 1.
    #[track_caller]
    pub fn host(&self, number: u8) -> &Host {
        self.all.iter().find(|host| host.number() == number).unwrap_or_else(|| panic!("no host {number}"))
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Host> {
        self.all.iter()
    }

    /// Two hosts no longer hear each other; everybody else hears both.
    pub fn part(&self, one: u8, other: u8) {
        self.host(one).ignore(self.host(other));
        self.host(other).ignore(self.host(one));
    }

    /// Ends every fault: links, freezes, engines and hosts that are down. What ran before runs again.
    pub fn mend(&self) {
        for host in &self.all {
            host.thaw();
            host.power_on();
            host.heal();
        }
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        if thread::panicking() {
            for host in &self.all {
                eprintln!("--- the engine of {}\n{}", host.name(), host.engine_log(15));
            }
        }
        // A second panic would end the process before the first is told. The next run clears the rest away.
        if !self.keep && catch_unwind(AssertUnwindSafe(|| clear::clear(&self.site))).is_err() {
            eprintln!("some of the hosts of {} are left", self.site.folder().display());
        }
    }
}
