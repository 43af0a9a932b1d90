//! `make hosts`: several real hosts on this machine that stay, with a cluster of theirs, and faults of
//! them on demand.

use std::path::PathBuf;
use std::process::ExitCode;

use gantry_e2e::{Client, Host, HostCluster, Hosts, Site, gantry};

const HELP: &str = "\
hosts.sh up [N] [--bare]     start N hosts (3) and a cluster of them; --bare: without a cluster
hosts.sh status              what is there
hosts.sh down                remove all of it
hosts.sh cut H               pull the cable of host H (a number)
hosts.sh part H OTHER        two hosts no longer hear each other
hosts.sh deafen H | mute H   lose what is sent to a host, or what it sends
hosts.sh slow H KBIT         let so many kilobits per second through
hosts.sh freeze H | thaw H   stop every process of a host, and let them go on
hosts.sh off H | on H        switch a host off, and on again
hosts.sh engine-kill H       kill its Docker Engine; engine-stop, engine-start, engine-restart likewise
hosts.sh heal [H]            end the faults of a host's cable, or every fault of all hosts";

fn main() -> ExitCode {
    // The harness fails as a test does; here a person reads it.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("error: {}", panic.payload_as_str().unwrap_or("something went wrong"));
    }));
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let (verb, numbers) = match words.split_first() {
        Some((verb, rest)) => (*verb, rest.iter().map_while(|word| number(word)).collect::<Vec<_>>()),
        None => ("help", Vec::new()),
    };
    match (verb, numbers.as_slice()) {
        ("up", []) => up(3, words.contains(&"--bare")),
        ("up", [count @ 1..=50]) => up(u8::try_from(*count).unwrap_or(3), words.contains(&"--bare")),
        ("help", _) => {
            println!("{HELP}");
            ExitCode::SUCCESS
        }
        _ => match Hosts::at(Site::by_hand()) {
            None => {
                eprintln!("error: there are no hosts\n  make hosts starts them");
                ExitCode::FAILURE
            }
            Some(hosts) => change(hosts, verb, &numbers),
        },
    }
}

/// A number, also as the name of a host.
fn number(word: &str) -> Option<u32> {
    word.strip_prefix('h').unwrap_or(word).parse().ok()
}

fn config() -> PathBuf {
    Site::by_hand().folder().join("gantry")
}

/// A stack whose image every host has.
const EXAMPLE: &str = "\
name: hello
services:
  web:
    image: gantry-e2e/probe
    ports: ['8000:8080']
    depends_on: {db: {condition: service_healthy}}
    deploy: {replicas: 3}
  db:
    image: gantry-e2e/probe
    healthcheck: {test: [CMD, /probe, check, '127.0.0.1:8080'], interval: 1s, retries: 20}
";

fn example() -> PathBuf {
    config().join("files/hello/compose.yaml")
}

fn up(count: u8, bare: bool) -> ExitCode {
    if let Some(hosts) = Hosts::at(Site::by_hand()) {
        show(&hosts);
        eprintln!("error: these hosts are there already\n  make hosts-down removes them");
        return ExitCode::FAILURE;
    }
    let mut hosts = Hosts::start_at(Site::by_hand(), count);
    // From here on also when something fails: one wants to see why.
    hosts.keep();
    if bare {
        show(&hosts);
    } else {
        let client = Client::with_folder(&config());
        client.file("hello", EXAMPLE);
        show(HostCluster::start_on(hosts, client, count).hosts());
    }
    ExitCode::SUCCESS
}

fn show(hosts: &Hosts) {
    for host in hosts.all() {
        let state = if host.is_on() { "on" } else { "off" };
        println!("{}  {}  {state:3}  DOCKER_HOST={}", host.name(), host.address(), host.docker_host());
    }
    let first = hosts.all().next().map(Host::address);
    println!("\nWhat to try next:\n");
    if config().exists() {
        println!("  export GANTRY_CONFIG={}", config().display());
        println!("  alias gantry={}", gantry().display());
        println!("  gantry node ls");
        println!("  gantry up -f {}", example().display());
        println!(
            "  curl http://{}:8000      # and every other host's",
            first.map_or_else(String::new, |ip| ip.to_string())
        );
    }
    println!("  e2e/hosts.sh cut h2      # and heal; e2e/hosts.sh help lists what else there is");
    println!("  make hosts-down");
}

fn change(hosts: Hosts, verb: &str, numbers: &[u32]) -> ExitCode {
    let known = |number: &u32| hosts.all().find(|host| u32::from(host.number()) == *number);
    let named: Option<Vec<&Host>> = match verb {
        "slow" => numbers.iter().take(1).map(known).collect(),
        _ => numbers.iter().map(known).collect(),
    };
    let Some(named) = named else {
        eprintln!("error: there is no such host\n  hosts.sh status shows them");
        return ExitCode::from(2);
    };
    match (verb, named.as_slice()) {
        ("status", []) => show(&hosts),
        ("down", []) => {
            hosts.remove();
            println!("The hosts are gone.");
        }
        ("heal", []) => hosts.mend(),
        ("heal", [host]) => host.heal(),
        ("cut", [host]) => host.cut(),
        ("part", [one, other]) => hosts.part(one.number(), other.number()),
        ("deafen", [host]) => host.deafen(),
        ("mute", [host]) => host.mute(),
        ("slow", [host]) if numbers.len() == 2 => host.slow(numbers[1]),
        ("freeze", [host]) => host.freeze(),
        ("thaw", [host]) => host.thaw(),
        ("off", [host]) => host.power_off(),
        ("on", [host]) => host.power_on(),
        ("engine-kill", [host]) => host.kill_engine(),
        ("engine-stop", [host]) => host.stop_engine(),
        ("engine-start", [host]) => host.start_engine(),
        ("engine-restart", [host]) => host.restart_engine(),
        _ => {
            eprintln!("{HELP}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
