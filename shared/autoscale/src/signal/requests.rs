//! Requests a second and in flight. Both are counted where they arrive, so that a sick replica does not
//! make the load look smaller.

use gantry_model::Autoscale;

use super::{Need, Signal};
use crate::signals::Signals;

/// What the requests that arrive ask for; `None` while no proxy tells.
pub fn rps(spec: &Autoscale, signals: &Signals) -> Option<Need> {
    let traffic = signals.traffic.as_ref()?;
    Some(Need::known(Signal::Rps, traffic.rps / spec.rps?))
}

/// What the requests in flight ask for, and those that wait for a replica.
pub fn concurrency(spec: &Autoscale, signals: &Signals) -> Option<Need> {
    let traffic = signals.traffic.as_ref()?;
    let at_once = traffic.in_flight + f64::from(traffic.waiting);
    Some(Need::known(Signal::Concurrency, at_once / spec.concurrency?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signals::Traffic;

    #[test]
    fn what_waits_counts_as_what_is_in_flight() {
        let spec = Autoscale { rps: Some(100.0), concurrency: Some(20.0), ..Autoscale::default() };
        let traffic = Traffic { rps: 250.0, in_flight: 30.0, waiting: 10, ..Traffic::default() };
        let seen = Signals { count: 2, traffic: Some(traffic), ..Signals::default() };
        assert_eq!(rps(&spec, &seen), Some(Need::known(Signal::Rps, 2.5)));
        assert_eq!(concurrency(&spec, &seen), Some(Need::known(Signal::Concurrency, 2.0)));
        assert_eq!(rps(&spec, &Signals::default()), None, "silence is not the same as no request");
    }
}
