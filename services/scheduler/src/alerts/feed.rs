//! `gantry.feed.v1.AlertFeedService`, for watchdogs.

use std::time::Duration;

use gantry_api::cluster::v1::AlertDelivery;
use gantry_api::feed::v1::alert_feed_service_server::AlertFeedService;
use gantry_api::feed::v1::notice_outcome::Notice;
use gantry_api::feed::v1::{
    NoticeOutcome, ReportAlertsRequest, ReportAlertsResponse, WatchAlertsRequest, WatchAlertsResponse,
};
use gantry_boot::now;
use gantry_model::{Snapshot, Timestamp, wire};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Alerts;
use super::book::{self, Outcome, Report};
use crate::api::Refused;
use crate::session::Lease;

/// At most one message in this time.
const GATHER: Duration = Duration::from_millis(20);
/// Without news the same is said again, so that silences end and clocks stay together.
const AGAIN: Duration = Duration::from_secs(30);
/// Messages that wait for a slow watchdog.
const QUEUE: usize = 2;
const MOST_CHANGES: usize = 1_000;
const MOST_OUTCOMES: usize = 10_000;
const LONGEST_TEXT: usize = 1_000;

/// Serves watchdogs.
pub struct AlertFeed {
    alerts: Alerts,
    lease: Lease,
}

impl AlertFeed {
    /// Serves these alerts. The watchdog that has the `lease` reports.
    pub fn new(alerts: Alerts, lease: Lease) -> Self {
        Self { alerts, lease }
    }
}

#[tonic::async_trait]
impl AlertFeedService for AlertFeed {
    type WatchAlertsStream = ReceiverStream<Result<WatchAlertsResponse, Status>>;

    async fn watch_alerts(
        &self,
        _: Request<WatchAlertsRequest>,
    ) -> Result<Response<Self::WatchAlertsStream>, Status> {
        let alerts = self.alerts.clone();
        let watcher = alerts.watcher();
        let (answers, stream) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let _watcher = watcher;
            let mut news = alerts.news.subscribe();
            loop {
                news.mark_unchanged();
                let mut message = message(&alerts.state.snapshot(), now());
                message.tests = alerts.trials.open();
                message.waiting = alerts.waiting().told();
                if answers.send(Ok(message)).await.is_err() {
                    return;
                }
                sleep(GATHER).await;
                tokio::select! {
                    changed = timeout(AGAIN, news.changed()) => if let Ok(Err(_)) = changed { return },
                    () = answers.closed() => return,
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn report_alerts(
        &self,
        request: Request<ReportAlertsRequest>,
    ) -> Result<Response<ReportAlertsResponse>, Status> {
        let mut request = request.into_inner();
        let (began, ended, outcomes) = (request.began.len(), request.ended.len(), request.outcomes.len());
        let waiting = request.waiting.as_ref().map_or(0, |waiting| waiting.findings.len());
        if [began, ended, waiting].iter().any(|count| *count > MOST_CHANGES) || outcomes > MOST_OUTCOMES {
            return Err(Status::invalid_argument(format!(
                "a report has at most {MOST_CHANGES} alerts, {MOST_CHANGES} findings that wait and {MOST_OUTCOMES} outcomes"
            )));
        }
        let instance = std::mem::take(&mut request.instance);
        // What became of a notice is true whoever leads now, and would else be sent twice.
        let is_history = began + ended == 0 && request.waiting.is_none();
        let leads = || {
            if is_history || self.lease.is_held_by(&instance, now()) {
                return Ok(());
            }
            let why = "this watchdog does not lead: only the one that does reports alerts";
            Err(Refused(Status::failed_precondition(why)))
        };
        leads().map_err(|Refused(status)| status)?;
        if let Some(mut waiting) = request.waiting.take() {
            waiting.findings.iter_mut().for_each(|finding| shorten(&mut finding.subject));
            self.alerts.waiting().tell(waiting);
        }
        let (report, tests) = read(request);
        let alerts = &self.alerts;
        for (test, outcome) in tests {
            alerts.trials.take(&test, AlertDelivery { at: Some(wire::write_time(now())), ..outcome });
        }
        let stored = alerts.state.commit(|snapshot| {
            // Its lease may have ended while others stored something.
            leads()?;
            Ok::<_, Refused>((book::take(snapshot, report, now()), ()))
        });
        let stored = stored.await;
        // Read before the watchdog is told, so that what it is told is at least as new.
        let revision = alerts.state.snapshot().revision;
        alerts.tell();
        stored.map_err(|Refused(status)| status)?;
        Ok(Response::new(ReportAlertsResponse { revision }))
    }
}

/// All that a watchdog needs.
fn message(snapshot: &Snapshot, now: Timestamp) -> WatchAlertsResponse {
    let config = &snapshot.alert_config;
    WatchAlertsResponse {
        revision: snapshot.revision,
        now: Some(wire::write_time(now)),
        cluster: snapshot.cluster.name.clone(),
        rules: config.rules.iter().map(wire::write_rule).collect(),
        disabled: config.disabled.clone(),
        receivers: config.receivers.iter().map(wire::write_receiver_access).collect(),
        grouping: Some(wire::write_grouping(config.grouping)),
        silences: book::silences(snapshot, now).into_iter().map(|one| wire::write_silence(one)).collect(),
        alerts: book::open(snapshot, now).map(|alert| wire::write_alert(alert)).collect(),
        tests: Vec::new(),
        waiting: None,
    }
}

/// What a report says of alerts, and of tests.
fn read(request: ReportAlertsRequest) -> (Report, Vec<(String, AlertDelivery)>) {
    let mut report = Report { ended: request.ended, ..Report::default() };
    for alert in request.began {
        let mut alert = wire::read_alert(alert);
        shorten(&mut alert.summary);
        report.began.push(alert);
    }
    let mut tests = Vec::new();
    for NoticeOutcome { notice, delivery } in request.outcomes {
        let Some(mut delivery) = delivery else { continue };
        shorten(&mut delivery.error);
        match notice {
            Some(Notice::Alert(alert)) => report.outcomes.push(Outcome {
                alert,
                receiver: delivery.receiver,
                resolved: delivery.resolved,
                attempts: delivery.attempts,
                error: delivery.error,
                lasting: delivery.lasting,
            }),
            Some(Notice::Test(test)) => tests.push((test, delivery)),
            None => {}
        }
    }
    (report, tests)
}

fn shorten(text: &mut String) {
    if let Some((at, _)) = text.char_indices().nth(LONGEST_TEXT) {
        text.truncate(at);
    }
}
