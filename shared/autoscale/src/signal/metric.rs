//! The user's own numbers, such as the length of a queue.

use gantry_model::Autoscale;

use super::{Need, Signal};
use crate::signals::Signals;

/// What the metric at this place in the rules asks for; `None` where it was not read.
pub fn need(spec: &Autoscale, signals: &Signals, at: usize) -> Option<Need> {
    let value = *signals.metrics.get(at)?.as_ref().ok().filter(|value| value.is_finite())?;
    let target = spec.metrics.get(at)?.target;
    Some(Need::known(Signal::Metric(at), value.max(0.0) / target))
}

#[cfg(test)]
mod tests {
    use gantry_model::MetricTarget;

    use super::*;

    #[test]
    fn a_metric_that_was_not_read_asks_for_nothing() {
        let target = MetricTarget {
            service: String::new(),
            port: 80,
            path: "/metrics".into(),
            name: "jobs".into(),
            target: 30.0,
        };
        let spec = Autoscale { metrics: vec![target], ..Autoscale::default() };
        let read = |value| need(&spec, &Signals { metrics: value, ..Signals::default() }, 0);
        assert_eq!(read(vec![Ok(75.0)]), Some(Need::known(Signal::Metric(0), 2.5)));
        assert_eq!(read(vec![Ok(-5.0)]), Some(Need::known(Signal::Metric(0), 0.0)));
        assert_eq!([read(vec![Err("refused".into())]), read(vec![]), read(vec![Ok(f64::NAN)])], [None; 3]);
    }
}
