//! What was measured, and the middle of it.

use gantry_e2e::median;

use super::peers::Kind;
use super::rows::Row;

/// One measurement of one proxy.
#[derive(Clone, Default)]
pub struct Sample {
    /// Of the processor per request, in µs. For idle connections: memory each, in KB (10³ bytes).
    pub cost: f64,
    /// For idle connections: the memory of the whole process with them, in MB (10⁶ bytes). nginx takes
    /// the tables for its connections at its start, so that they are not in what each costs.
    pub whole: f64,
    pub requests_per_second: f64,
    /// In µs.
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    /// What went wrong, with counts.
    pub failures: Vec<String>,
}

/// All measurements of one row.
pub struct Series {
    pub row: &'static Row,
    samples: Vec<(Kind, Vec<Sample>)>,
}

impl Series {
    pub fn new(row: &'static Row, kinds: &[Kind]) -> Self {
        Self { row, samples: kinds.iter().map(|kind| (*kind, Vec::new())).collect() }
    }

    pub fn add(&mut self, kind: Kind, sample: Sample) {
        if let Some((_, samples)) = self.samples.iter_mut().find(|(of, _)| *of == kind) {
            samples.push(sample);
        }
    }

    /// The middle of each figure over the rounds, for those that took part.
    pub fn medians(&self) -> impl Iterator<Item = (Kind, Sample)> {
        self.samples.iter().filter(|(_, samples)| !samples.is_empty()).map(|(kind, samples)| {
            let middle =
                |figure: fn(&Sample) -> f64| median(samples.iter().map(figure).collect::<Vec<f64>>());
            let sample = Sample {
                cost: middle(|sample| sample.cost),
                whole: middle(|sample| sample.whole),
                requests_per_second: middle(|sample| sample.requests_per_second),
                p50: middle(|sample| sample.p50),
                p99: middle(|sample| sample.p99),
                p999: middle(|sample| sample.p999),
                failures: Vec::new(),
            };
            (*kind, sample)
        })
    }

    pub fn median_of(&self, kind: Kind) -> Option<Sample> {
        self.medians().find_map(|(of, sample)| (of == kind).then_some(sample))
    }
}
