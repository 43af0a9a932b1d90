//! Times, as people write and read them.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;

/// Reads `30s`, `5m`, `1h30m`; a bare number is seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let span: Result<jiff::Span, _> = text.parse();
    let seconds = match (text.parse::<f64>(), span) {
        (Ok(seconds), _) => Some(seconds),
        (_, Ok(span)) => span.total(jiff::Unit::Second).ok(),
        _ => None,
    };
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| format!("{text:?} is no time: write 30s, 5m or 1h30m"))
}

/// Reads a point in time: RFC 3339, or how long ago.
pub fn parse_since(text: &str, now: SystemTime) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() });
    }
    let ago = parse_duration(text).map_err(|_| {
        format!("{text:?} is no time: write 10m for ten minutes ago, or 2026-01-31T12:00:00Z")
    })?;
    let time = jiff::Timestamp::try_from(now - ago).map_err(|error| error.to_string())?;
    Ok(Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() })
}

/// How long ago it was, in Docker's words: `3 minutes ago`.
pub fn ago(time: Option<Timestamp>, now: SystemTime) -> String {
    match time {
        Some(time) => format!("{} ago", rough(since(time, now))),
        None => String::new(),
    }
}

/// How long it has been.
pub fn since(time: Timestamp, now: SystemTime) -> Duration {
    let then = SystemTime::UNIX_EPOCH
        + Duration::new(u64::try_from(time.seconds).unwrap_or(0), u32::try_from(time.nanos).unwrap_or(0));
    now.duration_since(then).unwrap_or_default()
}

/// A time in its largest unit, as Docker shows it.
pub fn rough(time: Duration) -> String {
    let seconds = time.as_secs();
    let (count, unit) = match seconds {
        0..=89 => (seconds, "second"),
        90..=5_399 => ((seconds + 30) / 60, "minute"),
        5_400..=129_599 => ((seconds + 1_800) / 3_600, "hour"),
        _ => ((seconds + 43_200) / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// A point in time for people, in UTC to the second.
pub fn shown(time: Option<Timestamp>) -> String {
    time.and_then(|time| jiff::Timestamp::new(time.seconds, 0).ok())
        .map(|time| time.to_string())
        .unwrap_or_default()
}

/// A point in time with all its digits, as `docker logs -t` writes it.
pub fn precise(time: Option<Timestamp>) -> String {
    let time = time.and_then(|time| jiff::Timestamp::new(time.seconds, time.nanos).ok());
    time.map(|time| format!("{time:.9}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(parse_duration("soon").unwrap_err().contains("write 30s"));
    }

    #[test]
    fn times_are_shown_in_their_largest_unit() {
        let shown = |seconds| rough(Duration::from_secs(seconds));
        assert_eq!(
            [shown(1), shown(45), shown(100), shown(7_200), shown(200_000)],
            ["1 second", "45 seconds", "2 minutes", "2 hours", "2 days"]
        );
    }
}
