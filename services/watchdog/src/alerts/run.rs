//! The loop: judge, report, tell.
//!
//! Everything is level-triggered. What has to be told is the difference between the book and what
//! receivers were told, so a lost answer, a restart or another leader changes nothing but the time. A
//! receiver is sent one notice at a time; what comes meanwhile waits in the book, not in a queue. What is on
//! its way when the right to act is lost arrives all the same, and what became of it is reported all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use gantry_api::cluster::v1 as api;
use gantry_api::feed::v1::alert_feed_service_client::AlertFeedServiceClient;
use gantry_api::feed::v1::notice_outcome::Notice as Of;
use gantry_api::feed::v1::{
    NoticeOutcome, ReceiverTest, ReportAlertsRequest, WaitingFinding, WaitingFindings,
};
use gantry_feed::Mirror;
use gantry_model::alert::{Receiver, ReceiverKind};
use gantry_model::{Timestamp, wire};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::body::{About, Notice};
use super::book::{self, Book};
use super::evaluate::{AlertChange, AlertMemory, Finding, Fingerprint, evaluate};
use super::facts::{Facts, Health};
use super::notice::{Item, due, inhibited};
use super::pace::{Next, Pace};
use super::send::{Fault, Tries, deliver};
use super::traffic::{self, Traffic};
use crate::decide::Outlook;

/// Rules are judged this often.
const TICK: Duration = Duration::from_secs(1);
/// A report that is not answered by then is made again.
const PATIENCE: Duration = Duration::from_secs(5);
/// Alerts that begin or end in one report; the others are in the next. So many findings that wait are
/// reported at most.
const MOST: usize = 1_000;
/// After this time without the right to act, what waited for long enough before may have passed meanwhile.
const FORGOTTEN: Duration = Duration::from_mins(1);

/// What is looked at. Clones see the same.
#[derive(Debug, Clone)]
pub struct Sight {
    /// The state as the feed has it.
    pub mirrors: watch::Receiver<Arc<Mirror>>,
    /// What the judge of repairs found in it.
    pub found: watch::Receiver<Arc<Outlook>>,
}

/// Judges rules, and tells receivers, while `leads` says that `instance` does, until `stop`.
pub async fn run<L>(instance: String, channel: Channel, sight: Sight, leads: L, stop: CancellationToken)
where
    L: Fn() -> bool + Clone + Send + Sync + 'static,
{
    let mut books = book::follow(channel.clone(), stop.clone());
    let traffic = traffic::follow(channel.clone(), leads.clone(), stop.clone());
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut desk = Desk::new(instance, channel);
    loop {
        let delivered = async {
            match desk.deliveries.join_next().await {
                Some(ended) => Some(ended),
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => None,
            changed = books.changed() => match changed {
                Ok(()) => None,
                Err(_) => return,
            },
            ended = delivered => ended,
        };
        if let Some(Ok(sent)) = ended {
            desk.outcomes.extend(sent.outcomes);
            desk.settling.extend(sent.receiver);
        }
        let leads = leads();
        desk.leads &= leads;
        // While the scheduler is away there is nothing to go by, and nobody to report to.
        let book = books.borrow_and_update().clone();
        let Some(book) = book else { continue };
        if leads {
            let traffic = traffic.borrow().clone();
            desk.step(&book, &sight, &traffic).await;
        } else if !desk.outcomes.is_empty() {
            // Whoever leads now tells what was not told yet, and is to know what was.
            desk.report(&book, Vec::new()).await;
        }
    }
}

/// The facts at `now`. Before its first message a mirror is empty, which is not the same as nothing is there.
fn facts(sight: &Sight, traffic: &Traffic, now: Timestamp) -> Option<Facts> {
    let (mirror, found) = (sight.mirrors.borrow().clone(), sight.found.borrow().clone());
    let health = Health {
        cases: &mirror.cases,
        hearings: &mirror.hearings,
        courses: &mirror.courses,
        found: Some(&found),
    };
    (mirror.revision > 0).then(|| Facts::gather(&mirror, health, traffic.fresh(), now))
}

/// What a watchdog that leads, or has led, has in hand.
struct Desk {
    instance: String,
    client: AlertFeedServiceClient<Channel>,
    /// It has led without a break since it looked into the book.
    leads: bool,
    /// When it judged last, by the scheduler's clock.
    judged_at: Timestamp,
    memory: AlertMemory,
    /// What was reported to wait last, and on which stream.
    waiting_told: Option<(u64, BTreeMap<Fingerprint, Timestamp>)>,
    paces: BTreeMap<String, Pace>,
    /// Receivers that are sent something, or of which the scheduler has not heard how it went.
    busy: BTreeSet<String>,
    /// Those of them of which the outcomes are to be reported.
    settling: BTreeSet<String>,
    deliveries: JoinSet<Sent>,
    /// What became of notices and was not reported yet.
    outcomes: Vec<NoticeOutcome>,
    /// Tests that are under way.
    tests: BTreeSet<String>,
    /// The stream and the revision from which on a book has all that was reported.
    reported: (u64, u64),
}

/// What became of one notice.
struct Sent {
    /// Who was sent it; nobody's turn is taken by a test.
    receiver: Option<String>,
    outcomes: Vec<NoticeOutcome>,
}

impl Desk {
    fn new(instance: String, channel: Channel) -> Self {
        Self {
            instance,
            client: AlertFeedServiceClient::new(channel),
            leads: false,
            judged_at: Timestamp::default(),
            memory: AlertMemory::default(),
            waiting_told: None,
            paces: BTreeMap::new(),
            busy: BTreeSet::new(),
            settling: BTreeSet::new(),
            deliveries: JoinSet::new(),
            outcomes: Vec::new(),
            tests: BTreeSet::new(),
            reported: (0, 0),
        }
    }

    async fn step(&mut self, book: &Book, sight: &Sight, traffic: &Traffic) {
        self.test(book);
        let (stream, revision) = self.reported;
        if stream == book.stream && book.revision < revision {
            // The book does not have the last report yet, and comes again when it has.
            return;
        }
        let now = book.now();
        if !std::mem::replace(&mut self.leads, true) {
            if now.since(self.judged_at) >= FORGOTTEN {
                self.memory = AlertMemory::default();
            }
            self.memory.resume(book.waiting.as_ref());
            self.waiting_told = None;
        }
        self.judged_at = now;
        self.memory.believe(book.active());
        let facts = facts(sight, traffic, now);
        let changes = match &facts {
            Some(facts) => evaluate(facts, &book.config, &self.memory, now),
            None => Vec::new(),
        };
        if !self.report(book, changes).await {
            return;
        }
        if self.reported.0 == book.stream && book.revision < self.reported.1 {
            return;
        }
        let inhibited = facts.map(|facts| inhibited(&facts, &book.active())).unwrap_or_default();
        for receiver in &book.config.receivers {
            if !self.busy.contains(&receiver.name) {
                let due = due(&book.alerts, &book.silences, &inhibited, receiver, now);
                self.tell(book, receiver, due);
            }
        }
    }

    /// Stores what began, what ended, and what became of notices. False: it must be tried again.
    async fn report(&mut self, book: &Book, changes: Vec<AlertChange>) -> bool {
        let mut report = ReportAlertsRequest { outcomes: self.outcomes.clone(), ..Default::default() };
        let mut taken = Vec::new();
        for change in changes {
            match &change {
                AlertChange::Began(finding) if report.began.len() < MOST => report.began.push(began(finding)),
                AlertChange::Ended(of) if report.ended.len() < MOST => report.ended.extend(book.find(of)),
                AlertChange::Began(_) | AlertChange::Ended(_) => continue,
                _ => {
                    self.memory.take(&change);
                    continue;
                }
            }
            taken.push(change);
        }
        let waiting = self.waits(&taken);
        let known = match &self.waiting_told {
            Some((stream, told)) if *stream == book.stream => Some(told),
            _ => book.waiting.as_ref(),
        };
        if self.leads && known.map_or(!waiting.is_empty(), |known| *known != waiting) {
            report.waiting = Some(written(&waiting));
        }
        if report == ReportAlertsRequest::default() {
            return true;
        }
        report.instance.clone_from(&self.instance);
        let problem = match timeout(PATIENCE, self.client.report_alerts(report)).await {
            Ok(Ok(answer)) => {
                self.reported = (book.stream, answer.into_inner().revision);
                None
            }
            Ok(Err(status)) => Some(status.message().to_owned()),
            Err(_) => Some(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        if let Some(reason) = problem {
            tracing::warn!(reason, "alerts could not be reported; trying again");
            return false;
        }
        if self.leads {
            self.waiting_told = Some((book.stream, waiting));
        }
        for change in taken {
            match &change {
                AlertChange::Began(Finding { of, .. }) => {
                    tracing::info!(rule = of.rule, subject = of.subject, "an alert began");
                }
                AlertChange::Ended(of) => {
                    tracing::info!(rule = of.rule, subject = of.subject, "an alert ended");
                }
                _ => {}
            }
            self.memory.take(&change);
        }
        self.outcomes.clear();
        for receiver in std::mem::take(&mut self.settling) {
            self.busy.remove(&receiver);
        }
        true
    }

    /// What waits once these changes are taken, as far as it is reported.
    fn waits(&self, taken: &[AlertChange]) -> BTreeMap<Fingerprint, Timestamp> {
        let begins = |of: &Fingerprint| {
            taken.iter().any(|change| matches!(change, AlertChange::Began(finding) if finding.of == *of))
        };
        let waiting = self.memory.waiting().iter().filter(|(of, _)| !begins(of));
        waiting.take(MOST).map(|(of, since)| (of.clone(), *since)).collect()
    }

    fn tell(&mut self, book: &Book, receiver: &Receiver, due: Vec<Item>) {
        let (grouping, now) = (book.config.grouping, book.now());
        let pace = self.paces.entry(receiver.name.clone()).or_default();
        // An Alertmanager groups by itself.
        let next = match receiver.kind {
            ReceiverKind::Alertmanager if due.is_empty() => Next::Hold,
            ReceiverKind::Alertmanager => Next::Digest,
            ReceiverKind::Webhook | ReceiverKind::Slack => pace.next(due.len(), grouping, now),
        };
        pace.note(next, due.len(), grouping, now);
        let items = match next {
            Next::Hold => return,
            Next::One => due.into_iter().take(1).collect(),
            Next::Digest => due,
        };
        let alerts =
            items.iter().filter_map(|item| Some((book.alerts.get(&item.alert)?.clone(), item.resolved)));
        let about = About::Alerts { alerts: alerts.collect(), digest: next == Next::Digest };
        let body = Notice { cluster: book.cluster.clone(), about, now }.body(receiver.kind);
        self.busy.insert(receiver.name.clone());
        let receiver = receiver.clone();
        self.deliveries.spawn(async move {
            let (attempts, fault) = deliver(&receiver, &body, Tries::ALERT).await;
            if let Some(Fault { text, lasting }) = &fault {
                let what = if *lasting { "a notice was given up" } else { "a notice is tried again later" };
                tracing::warn!(receiver = receiver.name, attempts, error = text, "{what}");
            }
            let outcome = |item: &Item| NoticeOutcome {
                notice: Some(Of::Alert(item.alert)),
                delivery: Some(delivery(&receiver.name, item.resolved, attempts, fault.clone())),
            };
            Sent { outcomes: items.iter().map(outcome).collect(), receiver: Some(receiver.name.clone()) }
        });
    }

    /// Sends the test notices that somebody waits for.
    fn test(&mut self, book: &Book) {
        self.tests.retain(|id| book.tests.iter().any(|test| test.id == *id));
        for ReceiverTest { id, receivers } in &book.tests {
            if !self.tests.insert(id.clone()) {
                continue;
            }
            for receiver in receivers.iter().filter_map(|name| book.receiver(name)) {
                let notice = Notice { cluster: book.cluster.clone(), about: About::Test, now: book.now() };
                let (id, receiver) = (id.clone(), receiver.clone());
                self.deliveries.spawn(async move {
                    let (attempts, fault) =
                        deliver(&receiver, &notice.body(receiver.kind), Tries::TEST).await;
                    let delivery = Some(delivery(&receiver.name, false, attempts, fault));
                    Sent {
                        receiver: None,
                        outcomes: vec![NoticeOutcome { notice: Some(Of::Test(id)), delivery }],
                    }
                });
            }
        }
    }
}

fn began(finding: &Finding) -> api::Alert {
    api::Alert {
        rule: finding.of.rule.clone(),
        subject: finding.of.subject.clone(),
        severity: wire::write_alert_severity(finding.severity).into(),
        labels: finding.labels.clone(),
        summary: finding.summary.clone(),
        ..api::Alert::default()
    }
}

fn written(waiting: &BTreeMap<Fingerprint, Timestamp>) -> WaitingFindings {
    let each = waiting.iter().map(|(of, since)| WaitingFinding {
        rule: of.rule.clone(),
        subject: of.subject.clone(),
        since: Some(wire::write_time(*since)),
    });
    WaitingFindings { findings: each.collect() }
}

fn delivery(receiver: &str, resolved: bool, attempts: u32, fault: Option<Fault>) -> api::AlertDelivery {
    let (error, lasting) = fault.map(|fault| (fault.text, fault.lasting)).unwrap_or_default();
    api::AlertDelivery { receiver: receiver.to_owned(), resolved, at: None, attempts, error, lasting }
}
