//! Prometheus' text format, as far as values are looked for in it. Pure.
//!
//! A line is `name{label="value",…} value [timestamp]`; what begins with `#` is not for us. See
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use gantry_model::{Selector, read_series};

/// The values of all series that are meant, added up; `None` if there is none. Lines that make no sense, and
/// values that are no finite number, are left out.
pub fn sum(text: &str, selector: &Selector) -> Option<f64> {
    let values = text.lines().filter_map(|line| value(line.trim_start(), selector));
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

fn value(line: &str, selector: &Selector) -> Option<f64> {
    // Most lines are of other metrics: these are not read at all.
    let rest = line.strip_prefix(selector.name.as_str())?;
    if !rest.starts_with(['{', ' ', '\t']) {
        return None;
    }
    let (_, (labels, rest)) = read_series(line)?;
    let value: f64 = rest.split_ascii_whitespace().next()?.parse().ok()?;
    (selector.selects(&labels) && value.is_finite()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a message broker and the client libraries write it.
    const TEXT: &str = "\
# HELP rabbitmq_queue_messages Sum of ready and unacknowledged messages
# TYPE rabbitmq_queue_messages gauge
rabbitmq_queue_messages{queue=\"mail\",vhost=\"/\"} 12
rabbitmq_queue_messages{queue=\"sms\",vhost=\"/\"} 3.5 1720000000000
rabbitmq_queue_messages_ready{queue=\"mail\",vhost=\"/\"} 900
# TYPE jobs gauge
jobs 1e3
jobs_total\t7
odd{path=\"C:\\\\new\\\"{}\"} 4
broken{a=\"b 5
not_a_number NaN
endless +Inf
";

    fn of(selector: &str) -> Option<f64> {
        sum(TEXT, &Selector::parse(selector).unwrap())
    }

    #[test]
    fn all_series_that_are_meant_are_added_up() {
        assert_eq!(of("rabbitmq_queue_messages"), Some(15.5));
        assert_eq!(of("rabbitmq_queue_messages{queue=\"mail\"}"), Some(12.0));
        assert_eq!(of("rabbitmq_queue_messages{vhost=\"/\",queue=\"sms\"}"), Some(3.5));
        assert_eq!((of("jobs"), of("jobs_total")), (Some(1_000.0), Some(7.0)));
    }

    #[test]
    fn what_is_not_there_has_no_value() {
        assert_eq!(of("rabbitmq_queue_messages{queue=\"fax\"}"), None);
        assert_eq!(
            [of("rabbitmq_queue"), of("job"), of("broken"), of("not_a_number"), of("endless")],
            [None; 5]
        );
        assert_eq!(sum("", &Selector::parse("jobs").unwrap()), None);
    }

    #[test]
    fn values_of_labels_may_have_any_character() {
        assert_eq!(of("odd{path=\"C:\\\\new\\\"{}\"}"), Some(4.0));
    }
}
