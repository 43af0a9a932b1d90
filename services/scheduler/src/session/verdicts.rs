//! What watchdogs conclude: taken from the one that leads, and acted on while it still holds.

use gantry_api::feed::v1::verdict_service_server::VerdictService;
use gantry_api::feed::v1::{LeadRequest, LeadResponse, SubmitRequest, SubmitResponse};
use gantry_boot::now;
use gantry_model::wire::{read_verdict, write_duration, write_membership};
use gantry_model::{Conclusion, Finding, Severity, Snapshot, Timestamp};
use tonic::{Request, Response, Status};

use super::hearing::{Hearing, change};
use super::lease::{self, Answer, Lease};
use crate::api::{Refused, store_failed};
use crate::decide::{act_on, lost, record_event};
use crate::membership::Office;
use crate::state::State;

/// Verdicts that are taken at a time.
const MOST: usize = 1_000;
/// The longest name of a watchdog's run.
const LONGEST_INSTANCE: usize = 64;

/// Serves watchdogs.
pub struct Verdicts {
    state: State,
    hearing: Hearing,
    lease: Lease,
    office: Office,
}

impl Verdicts {
    /// Acts on the word of the watchdog that has the `lease` in `state`. `hearing` is told when it is heard.
    pub fn new(state: State, hearing: Hearing, lease: Lease, office: Office) -> Self {
        Self { state, hearing, lease, office }
    }

    /// What holds of nodes is not stored. Answers with the refusals, in order.
    fn take_nodes(&self, findings: &[Result<Finding, String>], now: Timestamp) -> Vec<Option<String>> {
        let mut refusals = Vec::new();
        self.state.observe(|snapshot| {
            let mut changed = false;
            for finding in findings {
                let taken = match finding {
                    Ok(Finding { conclusion, .. }) => take_node(snapshot, conclusion, now),
                    Err(_) => Ok(false),
                };
                changed |= taken == Ok(true);
                refusals.push(taken.err());
            }
            changed
        });
        refusals
    }
}

/// Whether anything is new by it; nothing is by what is no conclusion about a node.
fn take_node(snapshot: &mut Snapshot, conclusion: &Conclusion, now: Timestamp) -> Result<bool, String> {
    let Conclusion::Node { node, presence, silent_since, held } = conclusion else { return Ok(false) };
    if !snapshot.nodes.contains_key(node) {
        return Err("there is no such node".to_owned());
    }
    let Some(status) = snapshot.node_statuses.get(node) else {
        return Err("nothing is known of it yet".to_owned());
    };
    if let Some(objection) = lost::objection(status, *presence, *silent_since, now) {
        return Err(objection);
    }
    Ok(change(snapshot, node, now, |status| (status.verdict, status.held) = (*presence, *held)))
}

fn check_instance(instance: &str) -> Result<(), Status> {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    if instance.is_empty() || instance.len() > LONGEST_INSTANCE || !instance.chars().all(is_name) {
        return Err(Status::invalid_argument(format!(
            "an instance is a name of 1 to {LONGEST_INSTANCE} letters, digits, - and _"
        )));
    }
    Ok(())
}

#[tonic::async_trait]
impl VerdictService for Verdicts {
    async fn lead(&self, request: Request<LeadRequest>) -> Result<Response<LeadResponse>, Status> {
        let instance = request.into_inner().instance;
        check_instance(&instance)?;
        let answer = self.lease.ask(&instance, now());
        if answer.leads {
            self.hearing.watchdog();
        }
        if answer.is_new {
            tracing::info!(instance, "a watchdog leads");
            let (subject, message) = (lease::subject(&instance), format!("watchdog {instance} leads"));
            self.state
                .commit::<_, gantry_store::Error>(|snapshot| {
                    let normal = Severity::Normal;
                    let event = record_event(snapshot, now(), normal, &subject, None, lease::REASON, message);
                    Ok((event, ()))
                })
                .await
                .map_err(store_failed)?;
        }
        let expires_in = Some(write_duration(answer.expires_in));
        let snapshot = self.state.snapshot();
        let membership = Some(write_membership(&snapshot, self.office.places(&snapshot)));
        let Answer { leads, leader, .. } = answer;
        Ok(Response::new(LeadResponse { leads, leader, expires_in, membership }))
    }

    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitResponse>, Status> {
        let SubmitRequest { instance, verdicts } = request.into_inner();
        if verdicts.len() > MOST {
            return Err(Status::invalid_argument(format!(
                "{} verdicts are too many at a time: at most {MOST}",
                verdicts.len()
            )));
        }
        if !self.lease.is_held_by(&instance, now()) {
            return Err(Status::failed_precondition(
                "this watchdog does not lead: it has to ask for that with Lead first",
            ));
        }
        self.hearing.watchdog();
        let findings: Vec<Result<Finding, String>> = verdicts
            .into_iter()
            .map(|verdict| read_verdict(verdict).map_err(|invalid| invalid.to_string()))
            .collect();
        let of_nodes = self.take_nodes(&findings, now());
        let refusals = self
            .state
            .commit::<_, Refused>(|snapshot| {
                // Its lease may have ended while others stored something.
                if !self.lease.is_held_by(&instance, now()) {
                    let why = "this watchdog does not lead any more";
                    return Err(Refused(Status::failed_precondition(why)));
                }
                let taken = act_on(snapshot, findings.iter().flatten(), now());
                for action in &taken.plan.actions {
                    tracing::info!(%action, "a watchdog's verdict");
                }
                Ok((taken.plan.changes, taken.refusals))
            })
            .await
            .map_err(|Refused(status)| status)?;
        let mut acted_on = refusals.into_iter();
        let refusals = findings
            .iter()
            .zip(of_nodes)
            .map(|(finding, of_node)| match finding {
                Err(problem) => problem.clone(),
                Ok(_) => acted_on.next().flatten().or(of_node).unwrap_or_default(),
            })
            .collect();
        Ok(Response::new(SubmitResponse { refusals }))
    }
}
