//! The small things that many messages share.

use std::time::Duration;

use gantry_api::Invalid;
use prost_types::{Duration as WireDuration, Timestamp as WireTime};

use crate::time::Timestamp;

/// Reads a point in time.
pub fn read_time(time: WireTime) -> Timestamp {
    Timestamp::from_millis(
        time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos) / 1_000_000),
    )
}

/// Writes a point in time.
pub fn write_time(time: Timestamp) -> WireTime {
    let millis = time.as_millis();
    WireTime {
        seconds: millis.div_euclid(1000),
        nanos: i32::try_from(millis.rem_euclid(1000) * 1_000_000).unwrap_or_default(),
    }
}

pub(super) fn read_duration(
    field: &str,
    duration: Option<WireDuration>,
) -> Result<Option<Duration>, Invalid> {
    duration
        .map(|duration| {
            Duration::try_from(duration).map_err(|_| Invalid::new(field, "is negative or out of range"))
        })
        .transpose()
}

/// Writes a length of time.
pub fn write_duration(duration: Duration) -> WireDuration {
    WireDuration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}

/// Proto's empty text is the model's nothing.
pub(super) fn some_text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Proto's zero is the model's nothing.
pub(super) fn some_number<T: Default + PartialEq>(number: T) -> Option<T> {
    (number != T::default()).then_some(number)
}

/// The limit for each text, and for the number of elements in each list, that a message may carry.
pub(super) const MAX_ITEMS: usize = 4096;

pub(super) fn bounded<T>(field: &str, items: &[T]) -> Result<(), Invalid> {
    if items.len() > MAX_ITEMS {
        return Err(Invalid::new(
            field,
            format!("has {} elements; at most {MAX_ITEMS} are taken", items.len()),
        ));
    }
    Ok(())
}
