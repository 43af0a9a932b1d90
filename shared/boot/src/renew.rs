//! Certificates that renew themselves.

use std::time::{Duration, SystemTime};

use gantry_api::node::v1::RenewRequest;
use gantry_api::node::v1::member_service_client::MemberServiceClient;
use gantry_identity::{Bundle, Request};
use rand::RngExt as _;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::backoff::Backoff;
use crate::credentials::Credentials;
use crate::problem::chain;

/// The clock is looked at this often: it may jump, and machines sleep.
const LOOK_EVERY: Duration = Duration::from_mins(10);
const PATIENCE: Duration = Duration::from_secs(10);

/// Has the certificate renewed between half and four fifths of its life, until `stop`. Members that came
/// together do not come back together.
pub async fn keep_renewed(own: Credentials, channel: Channel, stop: CancellationToken) {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_mins(5));
    let mut last = String::new();
    loop {
        let share = rand::rng().random_range(0.5..0.8);
        let waiting = async {
            while let Some(left) = left(&own.bundle(), share) {
                sleep(left.min(LOOK_EVERY)).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = waiting => {}
        }
        let renewed = tokio::select! {
            () = stop.cancelled() => return,
            renewed = renew(&own, channel.clone()) => renewed,
        };
        match renewed {
            Ok(()) => {
                tracing::info!("this node's certificate was renewed");
                backoff.reset();
                last = String::new();
            }
            Err(problem) => {
                if problem != last {
                    tracing::warn!(problem, "the certificate cannot be renewed yet; trying again");
                }
                last = problem;
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep(backoff.pause()) => {}
                }
            }
        }
    }
}

/// How long to wait until that share of its life is over; `None` if it is.
fn left(bundle: &Bundle, share: f64) -> Option<Duration> {
    let due = bundle.validity().ok()?.after_share(share);
    due.duration_since(SystemTime::now()).ok().filter(|left| !left.is_zero())
}

async fn renew(own: &Credentials, channel: Channel) -> Result<(), String> {
    let Request { key, request } = Request::create().map_err(|error| chain(&error))?;
    let mut client = MemberServiceClient::new(channel);
    let answer = timeout(PATIENCE, client.renew(RenewRequest { request }))
        .await
        .map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))?
        .map_err(|status| status.message().to_owned())?
        .into_inner();
    let before = own.bundle();
    let bundle = Bundle { ca: answer.ca, certificate: answer.certificate, key };
    if bundle.ca != before.ca || bundle.identity().ok() != before.identity().ok() {
        return Err("the scheduler's answer is a certificate for somebody else".to_owned());
    }
    own.replace(bundle).map_err(|error| format!("cannot keep the new certificate: {error}"))
}
