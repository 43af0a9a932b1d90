//! Checks and healing as messages.

use std::time::Duration;

use gantry_api::Invalid;
use gantry_api::cluster::v1 as wire;
use gantry_api::cluster::v1::health_probe::Check as Wire;

use super::parts::{read_duration, write_duration};
use crate::probe::{Check, HealPolicy, HealthProbe, is_probe_header, is_probe_path};

/// Shorter than this a check may not be, nor the time between two.
const SHORTEST: Duration = Duration::from_millis(100);
/// Nothing of a check takes longer than this.
const LONGEST: Duration = Duration::from_hours(24);
/// How much a check may say.
const MAX_TEXT: usize = 4 << 10;

/// Reads a check.
pub fn read_probe(field: &str, probe: wire::HealthProbe) -> Result<HealthProbe, Invalid> {
    let check = match probe.check {
        None => return Err(Invalid::new(field, "says no check: http, tcp, grpc or exec")),
        Some(Wire::Http(http)) => read_http(field, http)?,
        Some(Wire::Tcp(tcp)) => Check::Tcp { port: port(field, tcp.port)? },
        Some(Wire::Grpc(grpc)) => Check::Grpc { port: port(field, grpc.port)?, service: grpc.service },
        Some(Wire::Exec(exec)) if exec.command.is_empty() => {
            return Err(Invalid::new(field, "has an empty command"));
        }
        Some(Wire::Exec(exec)) => Check::Exec { command: exec.command },
    };
    let default = HealthProbe::new(check);
    let duration = |value, default| read_duration(field, value).map(|read| read.unwrap_or(default));
    let read = HealthProbe {
        interval: duration(probe.interval, default.interval)?,
        timeout: duration(probe.timeout, default.timeout)?,
        retries: if probe.retries == 0 { default.retries } else { probe.retries },
        start_period: duration(probe.start_period, default.start_period)?,
        start_interval: duration(probe.start_interval, default.start_interval)?,
        ..default
    };
    if [read.interval, read.timeout, read.start_interval].iter().any(|time| *time < SHORTEST) {
        return Err(Invalid::new(field, "has a time that is shorter than 100 ms"));
    }
    let times = [read.interval, read.timeout, read.start_interval, read.start_period];
    if times.iter().any(|time| *time > LONGEST) {
        return Err(Invalid::new(field, "has a time that is longer than a day"));
    }
    Ok(read)
}

fn read_http(field: &str, http: wire::HttpCheck) -> Result<Check, Invalid> {
    let path = if http.path.is_empty() { "/".to_owned() } else { http.path };
    if !is_probe_path(&path) {
        return Err(Invalid::new(field, format!("has the path {path:?}: write one such as /healthz")));
    }
    let mut headers = http.headers.iter();
    if let Some((name, _)) = headers.find(|(name, value)| !is_probe_header(name, value)) {
        return Err(Invalid::new(field, format!("has a header {name:?} that no request can have")));
    }
    let size = http.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    if path.len() + size + http.body.len() > MAX_TEXT {
        return Err(Invalid::new(field, "has more than 4 KiB of path, headers and body"));
    }
    Ok(Check::Http {
        port: port(field, http.port)?,
        path,
        headers: http.headers,
        status: status(field, http.status_from, http.status_to)?,
        body: http.body,
    })
}

/// Fills in the port of a check that names none, from the service's only one.
pub(super) fn fill_port(probe: &mut wire::HealthProbe, only: Option<u16>) {
    let port = match &mut probe.check {
        Some(Wire::Http(http)) => &mut http.port,
        Some(Wire::Tcp(tcp)) => &mut tcp.port,
        Some(Wire::Grpc(grpc)) => &mut grpc.port,
        Some(Wire::Exec(_)) | None => return,
    };
    if *port == 0 {
        *port = only.map_or(0, u32::from);
    }
}

fn port(field: &str, port: u32) -> Result<u16, Invalid> {
    match u16::try_from(port) {
        Ok(0) => {
            Err(Invalid::new(field, "names no port of the container, and the service does not have just one"))
        }
        Ok(port) => Ok(port),
        Err(_) => Err(Invalid::new(field, format!("has {port} as port: at most 65535"))),
    }
}

fn status(field: &str, from: u32, to: u32) -> Result<(u16, u16), Invalid> {
    let code = |code: u32, default| match code {
        0 => Ok(default),
        100..=599 => Ok(u16::try_from(code).unwrap_or(default)),
        _ => Err(Invalid::new(field, format!("has {code} as status code: 100 to 599"))),
    };
    let from_code = code(from, 200)?;
    let to_code = code(to, if from == 0 { 399 } else { from_code })?;
    if from_code > to_code {
        return Err(Invalid::new(field, format!("has status codes from {from_code} to {to_code}")));
    }
    Ok((from_code, to_code))
}

/// Writes a check.
pub fn write_probe(probe: &HealthProbe) -> wire::HealthProbe {
    let check = match probe.check.clone() {
        Check::Http { port, path, headers, status, body } => Wire::Http(wire::HttpCheck {
            path,
            port: port.into(),
            headers,
            status_from: status.0.into(),
            status_to: status.1.into(),
            body,
        }),
        Check::Tcp { port } => Wire::Tcp(wire::TcpCheck { port: port.into() }),
        Check::Grpc { port, service } => Wire::Grpc(wire::GrpcCheck { port: port.into(), service }),
        Check::Exec { command } => Wire::Exec(wire::ExecCheck { command }),
    };
    wire::HealthProbe {
        check: Some(check),
        interval: Some(write_duration(probe.interval)),
        timeout: Some(write_duration(probe.timeout)),
        retries: probe.retries,
        start_period: Some(write_duration(probe.start_period)),
        start_interval: Some(write_duration(probe.start_interval)),
    }
}

/// Reads what is done about unhealthy replicas.
pub fn read_heal(heal: Option<wire::HealPolicy>) -> Result<HealPolicy, Invalid> {
    let default = HealPolicy::default();
    let Some(heal) = heal else { return Ok(default) };
    if heal.window.is_some_and(|window| window.seconds < 1) {
        return Err(Invalid::new("heal.window", "is shorter than a second"));
    }
    Ok(HealPolicy {
        restart_limit: if heal.restart_limit == 0 { default.restart_limit } else { heal.restart_limit },
        window: read_duration("heal.window", heal.window)?.unwrap_or(default.window),
        disabled: heal.disabled,
    })
}

/// Writes what is done about unhealthy replicas.
pub fn write_heal(heal: &HealPolicy) -> wire::HealPolicy {
    wire::HealPolicy {
        restart_limit: heal.restart_limit,
        window: Some(write_duration(heal.window)),
        disabled: heal.disabled,
    }
}
