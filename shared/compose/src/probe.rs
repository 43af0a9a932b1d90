//! `x-gantry.health` and `x-gantry.heal` of a service: how its replicas are checked by their agents, and
//! what is done about those that fail.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_model::{
    Check, HealPolicy, HealthProbe, NetworkMode, ServiceSpec, is_probe_header, is_probe_path, only_port,
};

use crate::keys;
use crate::section::{Section, truth};

/// Shorter than this a check may not be, nor the time between two.
const SHORTEST: Duration = Duration::from_millis(100);
/// Nothing of a check takes longer than this.
const LONGEST: Duration = Duration::from_hours(24);

/// The keys of which a check has exactly one.
const CHECKS: [&str; 4] = ["http", "tcp", "grpc", "exec"];

/// Reads both into the spec, whose ports are there already.
pub fn read(gantry: &Section<'_>, spec: &mut ServiceSpec) {
    if let Some(health) = gantry.section("health") {
        both(health, spec);
    }
    if let Some(heal) = gantry.section("heal") {
        spec.heal = healing(heal);
    }
}

/// One check for both uses, or one for each.
fn both(health: Section<'_>, spec: &mut ServiceSpec) {
    if !health.has("readiness") && !health.has("liveness") {
        let probe = one(&health, spec);
        health.finish(keys::HEALTH);
        // Whatever is not told apart is of use for traffic, too.
        spec.liveness = probe;
        return;
    }
    let each = |key: &'static str| {
        let section = health.section(key)?;
        let probe = one(&section, spec);
        section.finish(keys::HEALTH);
        probe
    };
    let (readiness, liveness) = (each("readiness"), each("liveness"));
    (spec.readiness, spec.liveness) = (readiness, liveness);
    for key in keys::HEALTH.iter().filter(|key| !matches!(**key, "readiness" | "liveness")) {
        if health.has(key) {
            health.log.error_with(
                health.key_at(key),
                format!("{key} stands beside readiness and liveness"),
                "write it into each of them, or take them away for one check that serves as both",
            );
        }
    }
    health.finish(keys::HEALTH);
}

fn one(section: &Section<'_>, spec: &ServiceSpec) -> Option<HealthProbe> {
    for key in ["readiness", "liveness"] {
        if section.has(key) {
            section.log.error(section.key_at(key), format!("{key} does not go inside {}", section.name));
        }
    }
    // Every key is looked at, so that all that is wrong is told at once.
    for key in keys::HEALTH {
        let _ = section.has(key);
    }
    let check = check(section, spec);
    let default = HealthProbe::new(Check::Tcp { port: 0 });
    let read = HealthProbe {
        interval: time(section, "interval", SHORTEST).unwrap_or(default.interval),
        timeout: time(section, "timeout", SHORTEST).unwrap_or(default.timeout),
        retries: positive(section, "retries").unwrap_or(default.retries),
        start_period: time(section, "start_period", Duration::ZERO).unwrap_or(default.start_period),
        start_interval: time(section, "start_interval", SHORTEST).unwrap_or(default.start_interval),
        ..default
    };
    Some(HealthProbe { check: check?, ..read })
}

fn check(section: &Section<'_>, spec: &ServiceSpec) -> Option<Check> {
    let log = section.log;
    let mut said = CHECKS.iter().filter(|key| section.has(key));
    let kind = *said.next().or_else(|| {
        log.error_with(
            section.at,
            format!("{} says no check", section.name),
            "write one of http: /PATH, tcp: true, grpc: true and exec: COMMAND",
        );
        None
    })?;
    if let Some(second) = said.next() {
        log.error(
            section.key_at(second),
            format!("{} is {kind} already: a check is one of them", section.name),
        );
        return None;
    }
    for key in ["headers", "status", "body"] {
        if kind != "http" && section.has(key) {
            log.error(section.key_at(key), format!("{key} goes with http only"));
        }
    }
    if kind != "exec" && spec.container.network_mode == NetworkMode::None {
        log.error(section.key_at(kind), format!("{kind} does not go together with network_mode: none"));
    }
    match kind {
        "http" => http(section, spec),
        "tcp" => tcp(section, spec),
        "grpc" => grpc(section, spec),
        _ => exec(section),
    }
}

fn http(section: &Section<'_>, spec: &ServiceSpec) -> Option<Check> {
    let path = section.text("http");
    if let Some(path) = path.as_ref().filter(|path| !is_probe_path(path)) {
        section.log.error_with(
            section.value_at("http"),
            format!("http must be a path such as /healthz, and this is {path:?}"),
            "the port goes into port: NUMBER, and the host is the replica itself",
        );
        return None;
    }
    let (headers, status, port) = (headers(section), status(section), port(section, spec));
    Some(Check::Http {
        path: path?,
        port: port?,
        headers,
        status: status?,
        body: section.text("body").unwrap_or_default(),
    })
}

fn headers(section: &Section<'_>) -> BTreeMap<String, String> {
    let mut headers = section.pairs("headers");
    headers.retain(|name, value| {
        let good = is_probe_header(name, value);
        if !good {
            section.log.error(
                section.value_at("headers"),
                format!("{name:?} is no header that a request can have with such a value"),
            );
        }
        good
    });
    headers
}

/// One status code, or a range of them.
fn status(section: &Section<'_>) -> Option<(u16, u16)> {
    let Some(text) = section.text("status") else {
        return section.get("status").is_none().then_some((200, 399));
    };
    let code = |text: &str| text.trim().parse().ok().filter(|code| (100..=599).contains(code));
    let read = match text.split_once('-') {
        None => code(&text).map(|code| (code, code)),
        Some((from, to)) => code(from).zip(code(to)).filter(|(from, to)| from <= to),
    };
    if read.is_none() {
        section.log.error(
            section.value_at("status"),
            format!("status must be a code such as 204 or a range such as 200-299, and this is {text:?}"),
        );
    }
    read
}

fn tcp(section: &Section<'_>, spec: &ServiceSpec) -> Option<Check> {
    let text = section.text("tcp")?;
    if truth(&text) == Some(true) && text != "1" {
        return Some(Check::Tcp { port: port(section, spec)? });
    }
    let port: Option<u16> = text.trim().parse().ok().filter(|port| *port > 0);
    if port.is_none() {
        section
            .log
            .error(section.value_at("tcp"), format!("tcp must be true or a port, and this is {text:?}"));
    } else if section.has("port") {
        section.log.error(section.key_at("port"), "tcp names the port already");
    }
    Some(Check::Tcp { port: port? })
}

fn grpc(section: &Section<'_>, spec: &ServiceSpec) -> Option<Check> {
    let text = section.text("grpc")?;
    let service = match truth(&text) {
        Some(true) => String::new(),
        None if !text.trim().is_empty() && text.chars().all(|c| c.is_ascii_graphic()) => text,
        _ => {
            section.log.error(
                section.value_at("grpc"),
                format!("grpc must be true or the name of a gRPC service, and this is {text:?}"),
            );
            return None;
        }
    };
    Some(Check::Grpc { port: port(section, spec)?, service })
}

fn exec(section: &Section<'_>) -> Option<Check> {
    if section.has("port") {
        section.log.error(section.key_at("port"), "port does not go with exec");
    }
    let command = section.words("exec")?;
    if command.first().is_none_or(String::is_empty) {
        section.log.error_with(
            section.value_at("exec"),
            "exec has no command",
            "write [\"pg_isready\", \"-U\", \"postgres\"], or the same as one line",
        );
        return None;
    }
    Some(Check::Exec { command })
}

/// The port in the container: the one that is named, else the only one that the service has.
fn port(section: &Section<'_>, spec: &ServiceSpec) -> Option<u16> {
    let log = section.log;
    if section.get("port").is_some() {
        let port = section.number::<u16>("port")?;
        if port == 0 {
            log.error(section.value_at("port"), "0 is no port: ports are 1 to 65535");
        }
        return Some(port).filter(|port| *port > 0);
    }
    let only = only_port(&spec.ports, &spec.container.expose);
    if only.is_none() {
        log.error_with(
            section.at,
            "it is not clear which port of the container is checked: the service does not have just one",
            "set port: NUMBER",
        );
    }
    only
}

fn time(section: &Section<'_>, key: &'static str, shortest: Duration) -> Option<Duration> {
    let time = section.duration(key)?;
    if time < shortest || time > LONGEST {
        let from = if shortest.is_zero() { "0s" } else { "100ms" };
        section.log.error(section.value_at(key), format!("{key} must be {from} to 24h"));
        return None;
    }
    Some(time)
}

fn positive(section: &Section<'_>, key: &'static str) -> Option<u32> {
    let number: u32 = section.number(key)?;
    if number == 0 {
        section.log.error(section.value_at(key), format!("{key} must be at least 1"));
        return None;
    }
    Some(number)
}

fn healing(heal: Section<'_>) -> HealPolicy {
    let default = HealPolicy::default();
    let window = heal.duration("window").unwrap_or(default.window);
    if window < Duration::from_secs(1) || window > LONGEST {
        heal.log.error(heal.value_at("window"), "window must be 1s to 24h");
    }
    let restart_limit = positive(&heal, "restart_limit").unwrap_or(default.restart_limit);
    let read = HealPolicy { restart_limit, window, disabled: heal.flag("off").unwrap_or(false) };
    heal.finish(keys::HEAL);
    read
}
