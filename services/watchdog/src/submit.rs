//! Verdicts are handed over: in batches, with a few tries, and what became of each.

use std::time::Duration;

use gantry_api::feed::v1::SubmitRequest;
use gantry_api::feed::v1::verdict_service_client::VerdictServiceClient;
use gantry_boot::Backoff;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};

use crate::seat::Seat;
use crate::verdict::Verdict;

/// Verdicts in one message; the scheduler takes 1,000.
const BATCH: usize = 200;
const TRIES: usize = 3;
const PATIENCE: Duration = Duration::from_secs(2);

/// What became of a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is acted on.
    Taken,
    /// It is not, and why.
    Refused(String),
    /// Nobody knows whether it arrived.
    Unknown(String),
}

/// Hands verdicts over, while this watchdog leads. There is one outcome for each.
pub async fn submit(seat: &Seat, verdicts: &[Verdict]) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(verdicts.len());
    for batch in verdicts.chunks(BATCH) {
        outcomes.extend(one_batch(seat, batch).await);
    }
    outcomes
}

async fn one_batch(seat: &Seat, batch: &[Verdict]) -> Vec<Outcome> {
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(500));
    let mut outcome = Outcome::Refused("this watchdog does not lead any more".to_owned());
    for attempt in 1..=TRIES {
        if !seat.leads() {
            break;
        }
        match send(seat, batch).await {
            Ok(refusals) => return outcomes(batch.len(), refusals),
            Err(status) if is_final(&status) => {
                outcome = Outcome::Refused(status.message().to_owned());
                break;
            }
            Err(status) => outcome = Outcome::Unknown(status.message().to_owned()),
        }
        if attempt < TRIES {
            sleep(backoff.pause()).await;
        }
    }
    vec![outcome; batch.len()]
}

/// Whether trying again cannot help.
fn is_final(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::FailedPrecondition
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::InvalidArgument
            | Code::Unimplemented
    )
}

async fn send(seat: &Seat, batch: &[Verdict]) -> Result<Vec<String>, Status> {
    let request =
        SubmitRequest { instance: seat.instance.clone(), verdicts: batch.iter().map(Into::into).collect() };
    let mut client = VerdictServiceClient::new(seat.channel.clone());
    let answer = timeout(PATIENCE, client.submit(request))
        .await
        .map_err(|_| Status::deadline_exceeded(format!("no answer within {} s", PATIENCE.as_secs())))??;
    Ok(answer.into_inner().refusals)
}

/// An answer that is too short says nothing of the last ones.
fn outcomes(verdicts: usize, refusals: Vec<String>) -> Vec<Outcome> {
    let said =
        refusals.into_iter().map(|why| if why.is_empty() { Outcome::Taken } else { Outcome::Refused(why) });
    let silence = std::iter::repeat_with(|| Outcome::Unknown("the answer does not say".to_owned()));
    said.chain(silence).take(verdicts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_has_an_outcome_whatever_the_answer() {
        let taken_and_refused = outcomes(2, vec![String::new(), "it is ready".into()]);
        assert_eq!(taken_and_refused, [Outcome::Taken, Outcome::Refused("it is ready".into())]);
        assert_eq!(outcomes(1, vec![String::new(), String::new()]), [Outcome::Taken]);
        assert!(matches!(outcomes(2, vec![String::new()])[1], Outcome::Unknown(_)));
    }
}
