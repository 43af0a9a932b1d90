//! `gantry.cluster.v1.AlertService`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gantry_api::cluster::v1 as api;
use gantry_api::cluster::v1::alert_service_server::AlertService;
use gantry_api::cluster::v1::{
    AlertDelivery, CreateSilenceRequest, CreateSilenceResponse, GetAlertConfigRequest,
    GetAlertConfigResponse, ListAlertHistoryRequest, ListAlertHistoryResponse, ListAlertsRequest,
    ListAlertsResponse, ListSilencesRequest, ListSilencesResponse, RemoveSilenceRequest,
    RemoveSilenceResponse, SetAlertConfigRequest, SetAlertConfigResponse, TestReceiversRequest,
    TestReceiversResponse,
};
use gantry_boot::{caller, now, random_id};
use gantry_compose::{Source, read_alerts};
use gantry_model::alert::{Alert, BUILT_IN, METRICS, Silence};
use gantry_model::{Change, Key, Record, Severity, Snapshot, Timestamp, wire};
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};

use super::{Alerts, book, check};
use crate::api::{Refused, store_failed};
use crate::decide::record_event;

const DEFAULT_LIMIT: usize = 100;
const LONGEST_SILENCE: Duration = Duration::from_hours(24 * 365);
const LONGEST_TEXT: usize = 1_000;
/// A receiver that has not answered by then is not waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Serves people.
pub struct AlertDesk(Alerts);

impl AlertDesk {
    /// Serves these alerts.
    pub fn new(alerts: Alerts) -> Self {
        Self(alerts)
    }
}

#[tonic::async_trait]
impl AlertService for AlertDesk {
    async fn list_alerts(
        &self,
        _: Request<ListAlertsRequest>,
    ) -> Result<Response<ListAlertsResponse>, Status> {
        let (snapshot, now) = (self.0.state.snapshot(), now());
        let alerts = book::active(&snapshot).rev().map(|alert| shown(&snapshot, alert, now)).collect();
        Ok(Response::new(ListAlertsResponse { alerts, watched: self.0.is_watched() }))
    }

    async fn list_alert_history(
        &self,
        request: Request<ListAlertHistoryRequest>,
    ) -> Result<Response<ListAlertHistoryResponse>, Status> {
        let ListAlertHistoryRequest { limit, subject } = request.into_inner();
        let limit = if limit == 0 { DEFAULT_LIMIT } else { limit as usize };
        let (snapshot, now) = (self.0.state.snapshot(), now());
        let matching = snapshot.alerts.values().rev().filter(|alert| alert.is_about(&subject));
        let alerts = matching.take(limit).map(|alert| shown(&snapshot, alert, now)).collect();
        Ok(Response::new(ListAlertHistoryResponse { alerts }))
    }

    async fn create_silence(
        &self,
        request: Request<CreateSilenceRequest>,
    ) -> Result<Response<CreateSilenceResponse>, Status> {
        let by = caller(&request)?.clone();
        let silence = read_silence(request.into_inner(), format!("{} {}", by.role, by.name))?;
        let add = |snapshot: &Snapshot| {
            let now = now();
            if let Some(unknown) = check::unknown_rule(&silence.rule, &snapshot.alert_config) {
                return Err(Refused(Status::not_found(unknown)));
            }
            if book::silences(snapshot, now).len() >= Silence::MOST {
                return Err(Refused(Status::resource_exhausted(format!(
                    "there are {} silences already: `gantry alerts unsilence` removes one",
                    Silence::MOST
                ))));
            }
            let mut changes = over(snapshot, now);
            changes.push(Change::Put(Record::Silence(Arc::new(silence.clone()))));
            let covers = |alert: &&Arc<Alert>| silence.covers(&alert.rule, &alert.subject, now);
            let silenced = book::active(snapshot).filter(covers).count();
            let message = format!("{} silenced alerts: {}", silence.created_by, described(&silence));
            changes.extend(event(snapshot, "AlertsSilenced", message));
            let warnings: Vec<String> =
                check::unknown_subject(&silence.subject, snapshot).into_iter().collect();
            Ok((changes, (silenced, warnings)))
        };
        let (silenced, warnings) = self.0.commit(add).await.map_err(|Refused(status)| status)?;
        Ok(Response::new(CreateSilenceResponse {
            silence: Some(wire::write_silence(&silence)),
            silenced: u32::try_from(silenced).unwrap_or(u32::MAX),
            warnings,
        }))
    }

    async fn list_silences(
        &self,
        _: Request<ListSilencesRequest>,
    ) -> Result<Response<ListSilencesResponse>, Status> {
        let snapshot = self.0.state.snapshot();
        let silences = book::silences(&snapshot, now()).into_iter().map(|one| wire::write_silence(one));
        Ok(Response::new(ListSilencesResponse { silences: silences.collect() }))
    }

    async fn remove_silence(
        &self,
        request: Request<RemoveSilenceRequest>,
    ) -> Result<Response<RemoveSilenceResponse>, Status> {
        let by = caller(&request)?.clone();
        let id = request.into_inner().id;
        let remove = |snapshot: &Snapshot| {
            let known = snapshot.silences.get(&id).filter(|silence| now() < silence.expires_at);
            let silence = known.ok_or_else(|| {
                Status::not_found(format!(
                    "there is no silence {id:?}: `gantry alerts silences` shows those that are"
                ))
            })?;
            let mut changes = vec![Change::Delete(Key::Silence(id.clone()))];
            let message = format!("{} {} ended a silence: {}", by.role, by.name, described(silence));
            changes.extend(event(snapshot, "AlertsUnsilenced", message));
            Ok((changes, ()))
        };
        self.0.commit(remove).await.map_err(|Refused(status)| status)?;
        Ok(Response::new(RemoveSilenceResponse {}))
    }

    async fn get_alert_config(
        &self,
        _: Request<GetAlertConfigRequest>,
    ) -> Result<Response<GetAlertConfigResponse>, Status> {
        Ok(Response::new(config(&self.0.state.snapshot())))
    }

    async fn set_alert_config(
        &self,
        request: Request<SetAlertConfigRequest>,
    ) -> Result<Response<SetAlertConfigResponse>, Status> {
        let by = caller(&request)?.clone();
        let SetAlertConfigRequest { name, text } = request.into_inner();
        let config = read_alerts(Source { name, text: text.into() })
            .map_err(|problems| Status::invalid_argument(problems.to_string().trim_end().to_owned()))?;
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let (rules, receivers) = (count(config.rules.len()), count(config.receivers.len()));
        let warnings = self
            .0
            .commit(|snapshot| {
                let mut warnings = check::unmatched(&config, snapshot);
                if rules > 0 && receivers == 0 {
                    warnings.push("there are no receivers, so nobody is told".to_owned());
                }
                let mut changes = vec![Change::Put(Record::AlertConfig(Arc::new(config)))];
                let message =
                    format!("{} {} set {rules} alert rules and {receivers} receivers", by.role, by.name);
                changes.extend(event(snapshot, "AlertsConfigured", message));
                Ok((changes, warnings))
            })
            .await
            .map_err(store_failed)?;
        Ok(Response::new(SetAlertConfigResponse { rules, receivers, warnings }))
    }

    async fn test_receivers(
        &self,
        request: Request<TestReceiversRequest>,
    ) -> Result<Response<TestReceiversResponse>, Status> {
        let wanted = receivers(&self.0.state.snapshot(), &request.into_inner().receivers)?;
        if !self.0.is_watched() {
            return Err(Status::failed_precondition(
                "no watchdog is connected, and it is the watchdog that sends notices: `docker ps` on the scheduler's host shows whether its container runs",
            ));
        }
        let running = self.0.trials.begin(random_id(12), wanted.iter().cloned().collect());
        let mut running = running.ok_or_else(|| {
            Status::resource_exhausted("other tests are under way: try again in a few seconds")
        })?;
        self.0.tell();
        let deadline = Instant::now() + PATIENCE;
        let mut answers = Vec::new();
        while answers.len() < wanted.len() {
            match timeout_at(deadline, running.outcomes.recv()).await {
                Ok(Some(outcome)) => answers.push(outcome),
                Ok(None) | Err(_) => break,
            }
        }
        Ok(Response::new(TestReceiversResponse { deliveries: in_order(&wanted, &answers) }))
    }
}

/// An alert for people: with the silence that keeps it from being sent.
fn shown(snapshot: &Snapshot, alert: &Alert, now: Timestamp) -> api::Alert {
    let silenced_by = if alert.is_active() { book::silenced_by(snapshot, alert, now) } else { None };
    api::Alert { silenced_by: silenced_by.unwrap_or_default(), ..wire::write_alert(alert) }
}

fn read_silence(request: CreateSilenceRequest, created_by: String) -> Result<Silence, Status> {
    let CreateSilenceRequest { rule, subject, duration, comment } = request;
    let duration = duration.and_then(|duration| Duration::try_from(duration).ok());
    let duration = duration.filter(|time| (Duration::from_secs(1)..=LONGEST_SILENCE).contains(time));
    let duration = duration.ok_or_else(|| Status::invalid_argument("a silence lasts 1 s to 1 year"))?;
    for (what, text) in [("rule", &rule), ("subject", &subject), ("comment", &comment)] {
        if text.chars().count() > LONGEST_TEXT || text.contains('\n') {
            return Err(Status::invalid_argument(format!(
                "{what} must be one line of at most {LONGEST_TEXT} characters"
            )));
        }
    }
    let created_at = now();
    Ok(Silence {
        id: random_id(8),
        rule,
        subject,
        comment,
        created_by,
        created_at,
        expires_at: created_at.after(duration),
    })
}

fn described(silence: &Silence) -> String {
    let any = |text: &str| if text.is_empty() { "*".to_owned() } else { text.to_owned() };
    let comment = if silence.comment.is_empty() { String::new() } else { format!(" ({})", silence.comment) };
    format!("{} about {} until {}{comment}", any(&silence.rule), any(&silence.subject), silence.expires_at)
}

/// Silences that are over go when another one comes.
fn over(snapshot: &Snapshot, now: Timestamp) -> Vec<Change> {
    let over = snapshot.silences.values().filter(|silence| now >= silence.expires_at);
    over.map(|silence| Change::Delete(Key::Silence(silence.id.clone()))).collect()
}

fn event(snapshot: &Snapshot, reason: &str, message: String) -> Vec<Change> {
    record_event(snapshot, now(), Severity::Normal, "cluster", None, reason, message)
}

fn config(snapshot: &Snapshot) -> GetAlertConfigResponse {
    let config = &snapshot.alert_config;
    let built_in = BUILT_IN.iter().map(|rule| api::BuiltInRule {
        name: rule.name.to_owned(),
        about: rule.about.to_owned(),
        severity: wire::write_alert_severity(rule.severity).into(),
        hold: Some(wire::write_duration(rule.hold)),
        disabled: config.disabled.iter().any(|name| name == rule.name),
    });
    let metrics = METRICS.iter().map(|info| api::AlertMetric {
        name: info.name.to_owned(),
        about: info.about.to_owned(),
        scope: info.scope.word().to_owned(),
    });
    GetAlertConfigResponse {
        rules: config.rules.iter().map(wire::write_rule).collect(),
        receivers: config.receivers.iter().map(wire::write_receiver).collect(),
        grouping: Some(wire::write_grouping(config.grouping)),
        built_in: built_in.collect(),
        metrics: metrics.collect(),
    }
}

/// The receivers that are meant, in the order of the file.
fn receivers(snapshot: &Snapshot, named: &[String]) -> Result<Vec<String>, Status> {
    let known: Vec<&str> =
        snapshot.alert_config.receivers.iter().map(|receiver| receiver.name.as_str()).collect();
    if known.is_empty() {
        return Err(Status::failed_precondition(
            "there are no receivers: name some in a file, and set it with `gantry alerts apply -f FILE`",
        ));
    }
    if let Some(unknown) = named.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(Status::not_found(format!(
            "there is no receiver {unknown:?}: there are {}",
            known.join(", ")
        )));
    }
    let named: BTreeSet<&str> = named.iter().map(String::as_str).collect();
    let meant = known.into_iter().filter(|name| named.is_empty() || named.contains(name));
    Ok(meant.map(str::to_owned).collect())
}

/// One answer for each receiver, also for those of which nothing was heard.
fn in_order(wanted: &[String], answers: &[AlertDelivery]) -> Vec<AlertDelivery> {
    let of = |name: &String| {
        answers.iter().find(|answer| answer.receiver == *name).cloned().unwrap_or_else(|| AlertDelivery {
            receiver: name.clone(),
            error: format!("nothing was heard of it within {} s", PATIENCE.as_secs()),
            ..AlertDelivery::default()
        })
    };
    wanted.iter().map(of).collect()
}
