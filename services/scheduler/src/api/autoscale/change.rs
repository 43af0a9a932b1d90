//! A change of rules on a person's word: pure.

use std::time::Duration;

use gantry_api::cluster::v1::{AutoscaleMode as WireMode, SetAutoscaleRequest};
use gantry_model::{Autoscale, AutoscaleMode, ServiceSpec};
use tonic::Status;

/// Changes what `asked` names in the rules of a service. Rules that make no sense are refused with what is wrong.
pub fn change(spec: &mut ServiceSpec, asked: &SetAutoscaleRequest) -> Result<(), Status> {
    let name = &asked.name;
    let mode = WireMode::try_from(asked.mode)
        .map_err(|_| Status::invalid_argument("mode is not known to this version"))?;
    let known = spec.autoscale.clone();
    if known.is_none() && mode == WireMode::Off {
        return Err(Status::failed_precondition(format!("{name} is not scaled by its load")));
    }
    if known.is_none() && asked.max.is_none() {
        return Err(Status::invalid_argument(format!(
            "{name} is not scaled by its load yet: give --max COUNT and a target, such as --rps 100 or --cpu 70%"
        )));
    }
    let mut rules = known.unwrap_or_default();
    rules.mode = match mode {
        WireMode::Auto => AutoscaleMode::Auto,
        WireMode::Recommend => AutoscaleMode::Recommend,
        WireMode::Off => AutoscaleMode::Off,
        // Whoever changes rules wants them to be followed.
        WireMode::Unspecified if rules.mode == AutoscaleMode::Off => AutoscaleMode::Auto,
        WireMode::Unspecified => rules.mode,
    };
    rules.min = asked.min.unwrap_or(rules.min);
    rules.max = asked.max.unwrap_or(rules.max);
    set(&mut rules.cpu, asked.cpu_percent, |percent| *percent == 0);
    set(&mut rules.memory, asked.memory_percent, |percent| *percent == 0);
    set(&mut rules.rps, asked.rps, |rps| *rps == 0.0);
    set(&mut rules.concurrency, asked.concurrency, |concurrency| *concurrency == 0.0);
    set(&mut rules.p95, time("p95", asked.p95)?, Duration::is_zero);
    set(&mut rules.p99, time("p99", asked.p99)?, Duration::is_zero);
    rules.scale_up_after = time("scale_up_after", asked.scale_up_after)?.unwrap_or(rules.scale_up_after);
    rules.scale_down_after =
        time("scale_down_after", asked.scale_down_after)?.unwrap_or(rules.scale_down_after);
    let mut changed = spec.clone();
    changed.autoscale = Some(rules);
    if let Some(fault) = changed.autoscale_faults().into_iter().next() {
        return Err(Status::invalid_argument(format!("{name}: {}", fault.message)));
    }
    *spec = changed;
    Ok(())
}

/// A target that is given replaces the one before; nothing of it takes that away.
fn set<T>(target: &mut Option<T>, given: Option<T>, is_none: impl Fn(&T) -> bool) {
    if let Some(value) = given {
        *target = Some(value).filter(|value| !is_none(value));
    }
}

fn time(field: &str, given: Option<prost_types::Duration>) -> Result<Option<Duration>, Status> {
    given
        .map(|given| {
            Duration::try_from(given)
                .map_err(|_| Status::invalid_argument(format!("{field} must not be below 0")))
        })
        .transpose()
}

/// What has changed, for people.
pub fn in_words(before: Option<&Autoscale>, after: Option<&Autoscale>) -> String {
    let Some(after) = after else { return "not scaled by load any more".to_owned() };
    let what = match (before, after.mode) {
        (None, _) => "scaled by load from now on",
        (Some(_), AutoscaleMode::Off) => "not scaled by load any more",
        (Some(before), _) if before.mode == AutoscaleMode::Off => "scaled by load again",
        (Some(_), _) => "other rules for scaling by load",
    };
    match after.mode {
        AutoscaleMode::Off => what.to_owned(),
        mode => format!("{what}: {} to {} replicas, mode {mode}", after.min, after.max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web(rules: Option<Autoscale>) -> ServiceSpec {
        ServiceSpec { autoscale: rules, ..ServiceSpec::default() }
    }

    fn asked() -> SetAutoscaleRequest {
        SetAutoscaleRequest { name: "shop/web".into(), ..SetAutoscaleRequest::default() }
    }

    fn rules() -> Autoscale {
        Autoscale { min: 2, max: 10, rps: Some(100.0), ..Autoscale::default() }
    }

    #[test]
    fn what_is_not_named_stays_and_nothing_of_a_target_takes_it_away() {
        let mut spec = web(Some(rules()));
        let p95 = Some(prost_types::Duration { seconds: 0, nanos: 250_000_000 });
        change(&mut spec, &SetAutoscaleRequest { max: Some(20), rps: Some(0.0), p95, ..asked() }).unwrap();
        let p95 = Some(Duration::from_millis(250));
        assert_eq!(spec.autoscale, Some(Autoscale { max: 20, rps: None, p95, ..rules() }));
    }

    #[test]
    fn rules_that_make_no_sense_are_refused_and_change_nothing() {
        let mut spec = web(Some(rules()));
        let refused = change(&mut spec, &SetAutoscaleRequest { max: Some(1), ..asked() }).unwrap_err();
        assert!(refused.message().contains("min must not be above max"), "{refused}");
        assert_eq!(spec.autoscale, Some(rules()));
        let negative = Some(prost_types::Duration { seconds: -1, nanos: 0 });
        assert!(change(&mut spec, &SetAutoscaleRequest { p95: negative, ..asked() }).is_err());
    }

    #[test]
    fn a_service_without_rules_gets_them_with_a_max() {
        let refused = change(&mut web(None), &SetAutoscaleRequest { rps: Some(5.0), ..asked() }).unwrap_err();
        assert!(refused.message().contains("--max"), "{refused}");
        let mut spec = web(None);
        change(&mut spec, &SetAutoscaleRequest { max: Some(4), rps: Some(5.0), ..asked() }).unwrap();
        assert_eq!(spec.autoscale.map(|rules| (rules.min, rules.max, rules.rps)), Some((1, 4, Some(5.0))));
        let off = SetAutoscaleRequest { mode: WireMode::Off.into(), ..asked() };
        assert!(change(&mut web(None), &off).is_err());
    }

    #[test]
    fn off_keeps_the_rules_and_another_change_is_on_again() {
        let mut spec = web(Some(rules()));
        let off = SetAutoscaleRequest { mode: WireMode::Off.into(), ..asked() };
        change(&mut spec, &off).unwrap();
        assert_eq!(spec.autoscale, Some(Autoscale { mode: AutoscaleMode::Off, ..rules() }));
        let words = in_words(Some(&rules()), spec.autoscale.as_ref());
        assert_eq!(words, "not scaled by load any more");
        let before = spec.autoscale.clone();
        change(&mut spec, &asked()).unwrap();
        assert_eq!(spec.autoscale, Some(rules()));
        let words = in_words(before.as_ref(), spec.autoscale.as_ref());
        assert_eq!(words, "scaled by load again: 2 to 10 replicas, mode auto");
    }
}
