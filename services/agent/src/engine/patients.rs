//! Containers that the engine calls unhealthy.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, HealthConfig, HealthStatusEnum};
use futures_util::{StreamExt as _, stream};
use gantry_api::agent::v1::FilterValues;
use tokio::time::timeout;

use super::Engine;
use super::error::{Error, Kind, Result};

/// Docker's defaults of a health check.
const INTERVAL: Duration = Duration::from_secs(30);
const RETRIES: u32 = 3;
/// How long the engine may take to tell of one container, and of how many it is asked at a time. One that it
/// cannot tell of keeps nobody from the others.
const TELLS: Duration = Duration::from_secs(5);
const AT_A_TIME: usize = 8;

/// A container that the engine calls unhealthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patient {
    /// The engine's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// How long after a start its health check can call it unhealthy at the earliest.
    pub verdict_after: Duration,
}

/// The containers that the engine calls unhealthy.
#[derive(Debug, Default)]
pub struct Ward {
    /// Those of which it tells.
    pub patients: Vec<Patient>,
    /// The ids of those of which it does not, and why.
    pub unknown: BTreeMap<String, Error>,
}

impl Engine {
    /// The running containers of this host that are unhealthy.
    pub async fn unhealthy(&self) -> Result<Ward> {
        let filter = |value: &str| FilterValues { values: vec![value.to_owned()] };
        let wanted = BTreeMap::from([
            ("health".to_owned(), filter("unhealthy")),
            ("status".to_owned(), filter("running")),
        ]);
        let asks = self.list(false, &wanted).await?.into_iter().map(|container| async move {
            let tells = timeout(TELLS, self.docker.inspect_container(&container.id, None)).await;
            let late = |_| Error::new(Kind::Timeout, "the engine does not tell of it");
            (container.id, tells.map_err(late).and_then(|told| told.map_err(Error::from)))
        });
        let mut told = stream::iter(asks).buffered(AT_A_TIME);
        let mut ward = Ward::default();
        while let Some((id, told)) = told.next().await {
            match told {
                // It may have recovered since it was listed.
                Ok(seen) => ward.patients.extend(patient(seen)),
                Err(error) if error.kind == Kind::NotFound => {}
                Err(error) => drop(ward.unknown.insert(id, error)),
            }
        }
        Ok(ward)
    }
}

fn patient(seen: ContainerInspectResponse) -> Option<Patient> {
    let state = seen.state?;
    let unhealthy = state.health?.status == Some(HealthStatusEnum::UNHEALTHY);
    if !unhealthy || state.running != Some(true) {
        return None;
    }
    let config = seen.config.unwrap_or_default();
    Some(Patient {
        id: seen.id?,
        name: seen.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        verdict_after: verdict_after(&config.healthcheck.unwrap_or_default()),
    })
}

/// The start period, and as many checks as may fail.
fn verdict_after(check: &HealthConfig) -> Duration {
    let time = |nanos: Option<i64>, default: Duration| match nanos.and_then(|nanos| u64::try_from(nanos).ok())
    {
        None | Some(0) => default,
        Some(nanos) => Duration::from_nanos(nanos),
    };
    let retries =
        check.retries.and_then(|retries| u32::try_from(retries).ok()).filter(|retries| *retries > 0);
    let checks = time(check.interval, INTERVAL).saturating_mul(retries.unwrap_or(RETRIES));
    time(check.start_period, Duration::ZERO).saturating_add(checks)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{UnixListener, UnixStream};

    use super::*;

    /// Answers one request as an engine does that cannot tell of the container `a`.
    async fn answer(mut connection: UnixStream) {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && connection.read(&mut byte).await.is_ok_and(|read| read > 0) {
            head.extend(byte);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let path = head.split_whitespace().nth(1).unwrap_or_default();
        let (status, body) = match path.split('?').next().unwrap_or_default() {
            path if path.ends_with("/containers/json") => ("200 OK", r#"[{"Id": "a"}, {"Id": "b"}]"#),
            path if path.ends_with("/containers/b/json") => (
                "200 OK",
                r#"{"Id": "b", "Name": "/b", "State": {"Running": true, "Health": {"Status": "unhealthy"}}}"#,
            ),
            _ => ("500 Internal Server Error", r#"{"message": "its layer is damaged"}"#),
        };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        connection.write_all(answer.as_bytes()).await.unwrap();
    }

    #[tokio::test]
    async fn one_container_that_cannot_be_told_of_keeps_nobody_from_the_others() {
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(answer(connection));
            }
        });
        let ward = Engine::at(socket.to_str().unwrap()).unwrap().unhealthy().await.unwrap();
        assert_eq!(ward.patients.iter().map(|patient| patient.id.as_str()).collect::<Vec<_>>(), ["b"]);
        let unknown: Vec<_> = ward.unknown.iter().map(|(id, error)| (id.as_str(), &error.message)).collect();
        assert!(unknown.len() == 1 && unknown[0].0 == "a" && unknown[0].1.contains("damaged"), "{unknown:?}");
    }

    #[test]
    fn a_check_has_its_start_period_and_its_retries() {
        let seconds = |seconds: i64| Some(seconds * 1_000_000_000);
        let check = HealthConfig {
            interval: seconds(2),
            retries: Some(4),
            start_period: seconds(20),
            ..HealthConfig::default()
        };
        assert_eq!(verdict_after(&check), Duration::from_secs(20 + 4 * 2));
        assert_eq!(verdict_after(&HealthConfig::default()), INTERVAL * 3);
    }
}
