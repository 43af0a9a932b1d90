use std::time::{Duration, SystemTime};

use gantry_boot::{Credentials, chain};
use gantry_identity::{Bundle, Request, Role};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::office::Office;

const LOOK_EVERY: Duration = Duration::from_mins(10);
const SHARE: f64 = 0.5;

/// Renews the scheduler's own certificate when half of its life is over, until `stop`: the CA is here.
pub async fn keep_own_renewed(own: Credentials, office: Office, stop: CancellationToken) {
    if office.authority().is_err() {
        return;
    }
    loop {
        let left = own
            .bundle()
            .validity()
            .ok()
            .and_then(|validity| validity.after_share(SHARE).duration_since(SystemTime::now()).ok());
        match left {
            Some(left) if !left.is_zero() => {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep(left.min(LOOK_EVERY)) => continue,
                }
            }
            _ => {}
        }
        match renew(&own, &office) {
            Ok(()) => tracing::info!("the scheduler's certificate was renewed"),
            Err(error) => tracing::warn!(error, "cannot renew the scheduler's certificate; trying again"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(Duration::from_secs(1)) => {}
        }
    }
}

fn renew(own: &Credentials, office: &Office) -> Result<(), String> {
    let before = own.bundle();
    let hosts = before.hosts().map_err(|error| error.to_string())?;
    let identity = before.identity().map_err(|error| error.to_string())?;
    let Request { key, request } = Request::create().map_err(|error| chain(&error))?;
    let certificate = office
        .sign(&request, Role::Scheduler, &identity.name, hosts)
        .map_err(|status| status.message().to_owned())?;
    own.replace(Bundle { ca: before.ca, certificate, key }).map_err(|error| error.to_string())
}
