use std::fmt;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Points in time that come again and again: a cron expression of five fields, read in a time zone.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "Text")]
pub struct Recurrence {
    cron: Cron,
    zone: TimeZone,
    text: Text,
}

/// A recurrence as people write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Text {
    cron: String,
    timezone: String,
}

/// Why a recurrence cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRecurrence {
    /// The expression is none.
    #[error(
        "{cron:?} is no cron expression ({why}): write five fields, such as \"0 8 * * 1-5\" for 08:00 on workdays"
    )]
    Cron {
        /// What was given.
        cron: String,
        /// What is wrong with it.
        why: String,
    },
    /// It never comes, such as 30 February.
    #[error("{0:?} never comes")]
    Never(String),
    /// There is no such time zone.
    #[error("there is no time zone {0:?}: write one such as Europe/Berlin or UTC")]
    Zone(String),
}

impl Recurrence {
    /// Reads a cron expression and the name of a time zone of the IANA database; empty is UTC.
    pub fn parse(cron: &str, timezone: &str) -> Result<Self, BadRecurrence> {
        let text = Text {
            cron: cron.trim().to_owned(),
            timezone: if timezone.is_empty() { "UTC".to_owned() } else { timezone.to_owned() },
        };
        let zone = TimeZone::get(&text.timezone).map_err(|_| BadRecurrence::Zone(text.timezone.clone()))?;
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let read = parser.parse(&text.cron);
        let cron =
            read.map_err(|error| BadRecurrence::Cron { cron: text.cron.clone(), why: error.to_string() })?;
        let read = Self { cron, zone, text };
        // What comes at all has come within a few years before any day.
        if read.last(Timestamp::from_millis(1_700_000_000_000)).is_none() {
            return Err(BadRecurrence::Never(read.text.cron));
        }
        Ok(read)
    }

    /// When it came last, at `now` or before. A time that the clocks skip comes at the end of the gap.
    pub fn last(&self, now: Timestamp) -> Option<Timestamp> {
        let now = jiff::Timestamp::from_millisecond(now.as_millis()).ok()?.to_zoned(self.zone.clone());
        let last = self.cron.find_previous_occurrence(&now, true).ok()?;
        Some(Timestamp::from_millis(last.timestamp().as_millisecond()))
    }

    /// The expression.
    pub fn cron(&self) -> &str {
        &self.text.cron
    }

    /// The name of its time zone.
    pub fn timezone(&self) -> &str {
        &self.text.timezone
    }
}

impl PartialEq for Recurrence {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Recurrence {}

impl fmt::Debug for Recurrence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recurrence({self})")
    }
}

impl fmt::Display for Recurrence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" {}", self.text.cron, self.text.timezone)
    }
}

impl TryFrom<Text> for Recurrence {
    type Error = BadRecurrence;

    fn try_from(text: Text) -> Result<Self, BadRecurrence> {
        Self::parse(&text.cron, &text.timezone)
    }
}

impl From<Recurrence> for Text {
    fn from(recurrence: Recurrence) -> Self {
        recurrence.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_millis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    fn last(cron: &str, zone: &str, now: &str) -> Option<Timestamp> {
        Recurrence::parse(cron, zone).unwrap().last(at(now))
    }

    #[test]
    fn the_last_time_is_found_in_its_own_zone() {
        assert_eq!(last("0 8 * * *", "UTC", "2026-06-10T09:00:00Z"), Some(at("2026-06-10T08:00:00Z")));
        // Berlin is two hours ahead in summer, one in winter.
        assert_eq!(
            last("0 8 * * *", "Europe/Berlin", "2026-06-10T09:00:00Z"),
            Some(at("2026-06-10T06:00:00Z"))
        );
        assert_eq!(
            last("0 8 * * *", "Europe/Berlin", "2026-01-10T07:00:00Z"),
            Some(at("2026-01-10T07:00:00Z"))
        );
        // The 13th of June 2026 is a Saturday.
        assert_eq!(last("0 8 * * 1-5", "", "2026-06-13T20:00:00Z"), Some(at("2026-06-12T08:00:00Z")));
        assert_eq!(last("0 0 1 JAN *", "", "2026-06-13T20:00:00Z"), Some(at("2026-01-01T00:00:00Z")));
    }

    #[test]
    fn a_time_that_the_clocks_skip_comes_when_they_go_on() {
        // On 2026-03-29 the clocks of Berlin go from 02:00 to 03:00, which is 01:00 UTC.
        assert_eq!(
            last("30 2 * * *", "Europe/Berlin", "2026-03-29T12:00:00Z"),
            Some(at("2026-03-29T01:00:00Z"))
        );
    }

    #[test]
    fn what_cannot_be_read_says_what_is_expected() {
        let wrong = |cron, zone| Recurrence::parse(cron, zone).unwrap_err().to_string();
        assert!(wrong("8am", "UTC").contains("write five fields"));
        assert!(wrong("0 0 8 * * *", "UTC").contains("write five fields"), "no seconds");
        assert!(wrong("61 * * * *", "UTC").contains("write five fields"));
        assert!(wrong("0 8 * * *", "Europe/Atlantis").contains("there is no time zone"));
        assert_eq!(wrong("0 0 30 2 *", "UTC"), "\"0 0 30 2 *\" never comes");
    }

    #[test]
    fn it_is_stored_as_it_is_written() {
        let workdays = Recurrence::parse("0 8 * * 1-5", "Europe/Berlin").unwrap();
        let stored = serde_json::to_string(&workdays).unwrap();
        assert_eq!(stored, r#"{"cron":"0 8 * * 1-5","timezone":"Europe/Berlin"}"#);
        assert_eq!(serde_json::from_str::<Recurrence>(&stored).unwrap(), workdays);
        assert_eq!(workdays.to_string(), "\"0 8 * * 1-5\" Europe/Berlin");
    }
}
