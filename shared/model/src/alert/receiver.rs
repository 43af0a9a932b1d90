//! Who is told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::AlertSeverity;
use super::text::matches;
use crate::record::Secret;

/// Somebody who is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receiver {
    /// Its name.
    pub name: String,
    /// What it understands.
    pub kind: ReceiverKind,
    /// Where it is. The path of a chat's webhook is its password.
    pub url: Secret,
    /// Headers that it is sent.
    pub headers: BTreeMap<String, Secret>,
    /// Only alerts of these severities; empty is all.
    pub severities: Vec<AlertSeverity>,
    /// Only alerts of these rules, `*` stands for any text; empty is all.
    #[serde(default)]
    pub rules: Vec<String>,
    /// It is told of the end of alerts, too.
    pub send_resolved: bool,
    /// The CA that its certificate is from, as PEM; empty is one of those that everybody trusts.
    #[serde(default)]
    pub ca: String,
}

impl Receiver {
    /// Whether it is to be told of alerts of this rule and severity.
    pub fn wants(&self, rule: &str, severity: AlertSeverity) -> bool {
        let severe = self.severities.is_empty() || self.severities.contains(&severity);
        severe && (self.rules.is_empty() || self.rules.iter().any(|pattern| matches(pattern, rule)))
    }
}

/// What a receiver understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiverKind {
    /// Gantry's own JSON.
    Webhook,
    /// What Slack takes, and Mattermost, Rocket.Chat and Discord (`/slack`) too.
    Slack,
    /// Prometheus' Alertmanager, API v2.
    Alertmanager,
}

impl ReceiverKind {
    /// All of them, with the words of the user's file.
    pub const ALL: [(&'static str, Self); 3] =
        [("webhook", Self::Webhook), ("slack", Self::Slack), ("alertmanager", Self::Alertmanager)];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Slack => "slack",
            Self::Alertmanager => "alertmanager",
        }
    }
}

/// A URL that nothing can be sent to. It does not say the URL, which may be a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// Another scheme.
    #[error("a receiver's url begins with http:// or https://")]
    Scheme,
    /// No host.
    #[error("a receiver's url needs a host, as in https://hooks.example.com/path")]
    Host,
    /// A port that is none.
    #[error("the port of a receiver's url is a number from 1 to 65535")]
    Port,
    /// A name and a password before the host.
    #[error("a receiver's url has no user name: give the password as a header, such as Authorization")]
    User,
    /// Something that a URL does not have.
    #[error("a receiver's url has no spaces and no characters beyond ASCII: write them as %20")]
    Characters,
}

/// The scheme and the host of `url`, which may be shown.
pub fn host_of(url: &str) -> Result<String, BadUrl> {
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(BadUrl::Characters);
    }
    let (scheme, rest) = url.split_once("://").ok_or(BadUrl::Scheme)?;
    if !matches!(scheme, "http" | "https") {
        return Err(BadUrl::Scheme);
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(BadUrl::User);
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if host.is_empty() {
        return Err(BadUrl::Host);
    }
    if port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port > 0)) {
        return Err(BadUrl::Port);
    }
    Ok(format!("{scheme}://{authority}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_url_only_the_host_is_shown() {
        assert_eq!(host_of("https://hooks.example.com/T0/secret").unwrap(), "https://hooks.example.com");
        assert_eq!(host_of("http://[2001:db8::1]:9093").unwrap(), "http://[2001:db8::1]:9093");
        assert_eq!(host_of("http://[::1]").unwrap(), "http://[::1]");
        assert_eq!(host_of("ftp://example.com"), Err(BadUrl::Scheme));
        assert_eq!(host_of("example.com"), Err(BadUrl::Scheme));
        assert_eq!(host_of("http:///x"), Err(BadUrl::Host));
        assert_eq!(host_of("http://:80/x"), Err(BadUrl::Host));
        assert_eq!(host_of("http://h:99999"), Err(BadUrl::Port));
        assert_eq!(host_of("https://ada:pw@h/x"), Err(BadUrl::User));
        assert_eq!(host_of("https://h/a b"), Err(BadUrl::Characters));
    }

    #[test]
    fn what_is_secret_about_a_receiver_is_not_printed() {
        let receiver = Receiver {
            name: "chat".into(),
            kind: ReceiverKind::Slack,
            url: Secret("https://h/hunter2".into()),
            headers: [("Authorization".to_owned(), Secret("hunter2".into()))].into(),
            severities: Vec::new(),
            rules: Vec::new(),
            send_resolved: true,
            ca: String::new(),
        };
        assert!(!format!("{receiver:?}").contains("hunter2"));
    }
}
