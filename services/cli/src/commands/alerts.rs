//! `gantry alerts`

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use gantry_api::cluster::v1::{
    CreateSilenceRequest, ListAlertHistoryRequest, ListAlertsRequest, ListSilencesRequest,
    RemoveSilenceRequest, SetAlertConfigRequest, TestReceiversRequest,
};
use gantry_compose::{Level, Source, read_alerts};
use gantry_model::alert::AlertConfig;

use crate::args::{Alerts, List};
use crate::client::Cluster;
use crate::failure::{Failure, Result, colours};
use crate::output;
use crate::when;

mod rules;
mod show;

use show::{Line, Past, Silenced, Tested};

/// Does what was asked.
pub async fn run<F: Future<Output = Result<Cluster>>>(
    connect: impl Fn() -> F,
    command: Alerts,
) -> Result<ExitCode> {
    match command {
        Alerts::Ls(list) => ls(&connect().await?, &list).await?,
        Alerts::History { subject, limit, list } => {
            history(&connect().await?, subject.unwrap_or_default(), limit, &list).await?;
        }
        Alerts::Silence { subject, rule, all: _, time, comment } => {
            let request = CreateSilenceRequest {
                rule: rule.unwrap_or_default(),
                subject: subject.unwrap_or_default(),
                duration: Some(duration(time)?),
                comment,
            };
            silence(&connect().await?, request).await?;
        }
        Alerts::Silences(list) => silences(&connect().await?, &list).await?,
        Alerts::Unsilence { ids } => {
            let cluster = connect().await?;
            for id in ids {
                cluster.alerts().remove_silence(RemoveSilenceRequest { id: id.clone() }).await?;
                output::print(&format!("{id}\n"))?;
            }
        }
        Alerts::Test { receivers, list } => return test(&connect().await?, receivers, &list).await,
        Alerts::Rules { metrics, format } => rules::run(&connect().await?, metrics, format.format).await?,
        Alerts::Apply { file, check } => {
            // What is wrong with the file is said before anything else is tried.
            let (name, text) = read(&file)?;
            let config = parse(&name, &text)?;
            if check {
                output::print(&format!(
                    "{name} is fine: {}\n",
                    counted(config.rules.len(), config.receivers.len())
                ))?;
            } else {
                apply(&connect().await?, name, text).await?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn ls(cluster: &Cluster, list: &List) -> Result<()> {
    let answer = cluster.alerts().list_alerts(ListAlertsRequest {}).await?.into_inner();
    if !answer.watched {
        eprintln!("no watchdog is connected: nothing is judged and nothing is sent until one is");
    }
    let lines: Vec<Line> = answer.alerts.into_iter().map(Line::from).collect();
    output::list(&lines, list)
}

async fn history(cluster: &Cluster, subject: String, limit: u32, list: &List) -> Result<()> {
    let request = ListAlertHistoryRequest { limit, subject };
    let alerts = cluster.alerts().list_alert_history(request).await?.into_inner().alerts;
    let lines: Vec<Past> = alerts.into_iter().map(Past::from).collect();
    output::list(&lines, list)
}

async fn silence(cluster: &Cluster, request: CreateSilenceRequest) -> Result<()> {
    let answer = cluster.alerts().create_silence(request).await?.into_inner();
    warn(&answer.warnings);
    let silence = answer.silence.unwrap_or_default();
    let now = match answer.silenced {
        0 => "no active alert".to_owned(),
        1 => "1 active alert".to_owned(),
        count => format!("{count} active alerts"),
    };
    output::print(&format!("{} until {}: {now}\n", silence.id, when::shown(silence.expires_at)))
}

async fn silences(cluster: &Cluster, list: &List) -> Result<()> {
    let silences = cluster.alerts().list_silences(ListSilencesRequest {}).await?.into_inner().silences;
    let lines: Vec<Silenced> = silences.into_iter().map(Silenced::from).collect();
    output::list(&lines, list)
}

/// The exit code is 1 when a receiver did not take its notice.
async fn test(cluster: &Cluster, receivers: Vec<String>, list: &List) -> Result<ExitCode> {
    let answer = cluster.alerts().test_receivers(TestReceiversRequest { receivers }).await?.into_inner();
    let lines: Vec<Tested> = answer.deliveries.into_iter().map(Tested::from).collect();
    output::list(&lines, list)?;
    Ok(if lines.iter().all(Tested::is_fine) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn apply(cluster: &Cluster, name: String, text: String) -> Result<()> {
    let request = SetAlertConfigRequest { name, text };
    let set = cluster.alerts().set_alert_config(request).await?.into_inner();
    warn(&set.warnings);
    let counted = counted(set.rules as usize, set.receivers as usize);
    output::print(&format!("{counted}: `gantry alerts test` sends a test notice\n"))
}

/// What was taken, and likely not meant.
fn warn(warnings: &[String]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
}

fn counted(rules: usize, receivers: usize) -> String {
    let many = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    format!("{}, {}", many(rules, "rule"), many(receivers, "receiver"))
}

/// The file's name for messages, and its text.
fn read(file: &Path) -> Result<(String, String)> {
    let name = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
    let mut text = String::new();
    let limit = AlertConfig::LARGEST as u64 + 1;
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(limit).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::bad_input(format!("cannot read {name}: {error}")))?;
    Ok((name, text))
}

fn parse(name: &str, text: &str) -> Result<AlertConfig> {
    read_alerts(Source { name: name.to_owned(), text: text.into() }).map_err(|problems| {
        let errors = problems.list.iter().filter(|one| one.level == Level::Error).count();
        let many = if errors == 1 { "1 mistake".to_owned() } else { format!("{errors} mistakes") };
        // Not the lines themselves: a receiver's may hold its password.
        Failure::bad_input(format!("{name} has {many}; nothing was changed")).details(said(&problems))
    })
}

/// What is wrong, with its lines where they hold no secret.
fn said(problems: &gantry_compose::Problems) -> String {
    let secret = ["url", "headers", "ca"];
    let quotes_secret = problems.list.iter().filter_map(|one| one.at).any(|at| {
        let text = problems.source.text.as_ref();
        let start = text[..at.start.min(text.len())].rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[start..].lines().next().unwrap_or_default();
        secret.iter().any(|key| line.contains(key)) || is_of_a_receiver(&text[..start])
    });
    if quotes_secret { problems.to_string() } else { problems.render(colours()) }
}

/// Whether what follows `before` is a part of the receivers: the last key at the margin says so.
fn is_of_a_receiver(before: &str) -> bool {
    let is_key =
        |line: &&str| line.starts_with(|first: char| first.is_ascii_alphanumeric() || "\"'".contains(first));
    let last = before.lines().rev().find(is_key);
    last.is_some_and(|line| line.trim_start_matches(['"', '\'']).starts_with("receivers"))
}

fn duration(time: Duration) -> Result<prost_types::Duration> {
    prost_types::Duration::try_from(time).map_err(|_| Failure::bad_input("a silence lasts 1 s to 1 year"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_shown_with_its_line_unless_a_secret_stands_there() {
        let shown =
            parse("a.yaml", "rules:\n  - {name: a, metric: nope, above: 1}\n").unwrap_err().to_string();
        assert!(shown.contains("1 mistake"), "{shown}");
        let problems =
            |text: &str| read_alerts(Source { name: "a.yaml".into(), text: text.into() }).unwrap_err();
        let quoted = said(&problems("rules:\n  - {name: a, metric: nope, above: 1}\n"));
        assert!(quoted.contains("{name: a, metric: nope"), "{quoted}");
        let kept = said(&problems("receivers:\n  - {name: a, type: nope, url: https://h/hunter2}\n"));
        assert!(kept.contains("a.yaml:2:") && kept.contains("there is no type"), "{kept}");
        assert!(!kept.contains("hunter2"), "{kept}");
        // A password on a line of its own, and one that slipped out of its map.
        for file in [
            "receivers:\n- name: a\n  type: slack\n  url: https://h/x\n  headers:\n    X Key: hunter2\n",
            "receivers:\n  - name: a\n    type: slack\n    Authorization: hunter2\n    url: https://h/x\n",
        ] {
            let kept = said(&problems(file));
            assert!(kept.contains("a.yaml:") && !kept.contains("hunter2"), "{kept}");
        }
    }

    #[test]
    fn counts_are_in_words() {
        assert_eq!([counted(1, 0), counted(2, 1)], ["1 rule, 0 receivers", "2 rules, 1 receiver"]);
    }
}
