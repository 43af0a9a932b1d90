use std::collections::BTreeMap;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::{Host, Hosts, Site};
use crate::client::Client;
use crate::cluster::PARTS;
use crate::command::Run;
use crate::wait::eventually_within;

/// What a host may take to be ready, on a machine with other things to do.
const READY: Duration = Duration::from_mins(1);

/// A cluster of several hosts, and a client of it at this machine.
pub struct HostCluster {
    client: Client,
    hosts: Hosts,
}

impl HostCluster {
    /// Starts one for a test. The scheduler is on the first host; the others join by token.
    pub fn start(count: u8) -> Self {
        Self::start_with_spares(count, 0)
    }

    /// The same beside so many hosts that are in no cluster, numbered after the others.
    pub fn start_with_spares(count: u8, spares: u8) -> Self {
        let client = Client::here();
        Self::start_on(Hosts::start(count + spares), client, count)
    }

    /// Starts one on the first `count` of hosts that have none.
    pub fn start_on(hosts: Hosts, client: Client, count: u8) -> Self {
        let cluster = Self { client, hosts };
        cluster.init(1).ok();
        if count > 1 {
            let invitation = cluster.invite(&[]);
            // All at once, as somebody does who has a script for it.
            thread::scope(|scope| {
                for number in 2..=count {
                    let (cluster, invitation) = (&cluster, &invitation);
                    scope.spawn(move || cluster.join(number, invitation, &[]).ok());
                }
            });
        }
        cluster.ready(&(1..=count).collect::<Vec<_>>());
        cluster
    }

    /// The cluster of hosts that an earlier process left running, for a client that knows it.
    pub fn at(site: Site, client: Client) -> Option<Self> {
        Some(Self { client, hosts: Hosts::at(site)? })
    }

    /// Its hosts.
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// One of its hosts; the first is 1.
    #[track_caller]
    pub fn host(&self, number: u8) -> &Host {
        self.hosts.host(number)
    }

    /// Leaves hosts and cluster running when this is dropped.
    pub fn keep(&mut self) {
        self.hosts.keep();
    }

    /// `gantry init` with a host's engine.
    pub fn init(&self, number: u8) -> Run {
        self.on(number, &["init", "--node-name", &self.host(number).name()])
    }

    /// `gantry token`: what nodes join with, TOKEN@HOST:PORT.
    #[track_caller]
    pub fn invite(&self, more: &[&str]) -> String {
        self.ok([&["token", "--quiet"], more].concat()).trim().to_owned()
    }

    /// `gantry join` with a host's engine, and its name unless there is another among the options.
    pub fn join(&self, number: u8, invitation: &str, more: &[&str]) -> Run {
        let name = self.host(number).name();
        let named = ["--node-name", &name];
        let named = if more.contains(&named[0]) { &[] } else { &named[..] };
        self.on(number, &[&["join", invitation], more, named].concat())
    }

    /// `gantry leave` with a host's engine.
    pub fn leave(&self, number: u8) -> Run {
        let args = ["leave", "--volumes", "--docker-host", &self.host(number).docker_host()];
        self.run(args)
    }

    /// Runs a command that sets a host up, with its engine and its address.
    pub fn on(&self, number: u8, args: &[&str]) -> Run {
        let host = self.host(number);
        let (engine, address) = (host.docker_host(), host.address().to_string());
        self.run([args, &["--docker-host", &engine, "--advertise-addr", &address]].concat())
    }

    /// Waits until these hosts are ready as nodes.
    #[track_caller]
    pub fn ready(&self, numbers: &[u8]) {
        let wanted: Vec<_> = numbers.iter().map(|number| format!("h{number}")).collect();
        eventually_within(READY, &format!("{wanted:?} are ready"), || {
            let nodes = self.nodes();
            wanted.iter().all(|name| nodes.get(name) == Some(&true)).then_some(())
        });
    }

    /// The nodes and whether each is ready; none while the scheduler does not answer.
    pub fn nodes(&self) -> BTreeMap<String, bool> {
        let nodes = self.json_may_fail(["node", "ls"]);
        let nodes = nodes.as_ref().and_then(Value::as_array).into_iter().flatten();
        let line = |node: &Value| Some((node["name"].as_str()?.to_owned(), node["ready"] == true));
        nodes.filter_map(line).collect()
    }

    /// The container of a part: one of [`PARTS`].
    pub fn container(part: &str) -> String {
        format!("gantry-{part}")
    }

    /// Ends a part's process on a host with SIGKILL and starts it again.
    pub fn kill(&self, number: u8, part: &str) {
        let host = self.host(number);
        host.docker(["kill", &Self::container(part)]);
        host.docker(["start", &Self::container(part)]);
    }

    /// On which hosts the running replicas of a service are, one entry each, sorted.
    pub fn places(&self, service: &str) -> Vec<String> {
        let stack = service.split('/').next().unwrap_or(service);
        let replicas = self.json_may_fail(["ps", stack]);
        let replicas = replicas.as_ref().and_then(Value::as_array).into_iter().flatten();
        let up = |replica: &&Value| {
            replica["service"] == service && (replica["state"] == "running" || replica["state"] == "healthy")
        };
        let mut places: Vec<_> = replicas.filter(up).filter_map(|it| it["node"].as_str()).collect();
        places.sort_unstable();
        places.into_iter().map(str::to_owned).collect()
    }

    /// The containers of stacks that a host's engine has, by name; also those that do not run.
    pub fn containers(&self, number: u8) -> Vec<String> {
        let args = ["ps", "-a", "--filter", "label=gantry.cluster", "--format", "{{.Names}}"];
        let mut names: Vec<_> = self.host(number).docker(args).lines().map(str::to_owned).collect();
        names.sort_unstable();
        names
    }
}

impl Deref for HostCluster {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for HostCluster {
    fn drop(&mut self) {
        if thread::panicking() {
            // A second panic would end the process before the first is told.
            let _ = catch_unwind(AssertUnwindSafe(|| self.tell()));
        }
    }
}

impl HostCluster {
    /// Prints what one wants to know first when something went wrong.
    pub fn tell(&self) {
        for host in self.hosts.all().filter(|host| host.is_on()) {
            for part in PARTS {
                let log = host.docker_may_fail(["logs", "--tail", "30", &Self::container(part)]);
                if log.code == Some(0) {
                    eprintln!("--- {part} of {}\n{}{}", host.name(), log.stdout, log.stderr);
                }
            }
        }
        eprintln!("--- gantry node ls\n{}--- gantry ps\n{}", self.run(["node", "ls"]), self.run(["ps"]));
    }
}
