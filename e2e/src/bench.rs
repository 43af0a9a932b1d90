use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::json;

/// One figure of a bench, beside what a peer needed in the same run.
pub struct Figure {
    /// What was measured.
    pub metric: &'static str,
    /// Ours.
    pub value: f64,
    /// The unit of both.
    pub unit: &'static str,
    /// Who or what it is compared with, and its figure.
    pub peer: Option<(&'static str, f64)>,
    /// The most that the ratio may be; without a peer, the most that the value may be.
    pub budget: Option<f64>,
}

impl Figure {
    fn ratio(&self) -> Option<f64> {
        self.peer.map(|(_, peer)| self.value / peer)
    }

    fn verdict(&self) -> &'static str {
        match self.budget {
            None => "",
            Some(budget) if self.ratio().unwrap_or(self.value) <= budget => "ok",
            Some(_) => "OVER",
        }
    }
}

/// Prints the figures as a table, and writes them to `target/bench/NAME.json`.
pub fn report(name: &str, figures: &[Figure]) {
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.2}"));
    let mut table = format!(
        "{:<36} {:>8} {:<5} {:<24} {:>8} {:>6} {:>7}\n",
        "METRIC", "VALUE", "UNIT", "PEER", "PEER'S", "RATIO", "BUDGET"
    );
    for figure in figures {
        let (peer, theirs) = figure.peer.unzip();
        let _ = writeln!(
            table,
            "{:<36} {:>8.2} {:<5} {:<24} {:>8} {:>6} {:>7} {}",
            figure.metric,
            figure.value,
            figure.unit,
            peer.unwrap_or_default(),
            number(theirs),
            number(figure.ratio()),
            number(figure.budget),
            figure.verdict()
        );
    }
    println!("{}", table.trim_end());
    let list: Vec<_> = figures
        .iter()
        .map(|figure| {
            json!({
                "metric": figure.metric,
                "value": figure.value,
                "unit": figure.unit,
                "peer": figure.peer.map(|(peer, _)| peer),
                "peer_value": figure.peer.map(|(_, value)| value),
                "ratio": figure.ratio(),
                "budget": figure.budget,
            })
        })
        .collect();
    let folder = PathBuf::from(std::env::var_os("GANTRY_BENCH").expect("run benches with `make bench`"));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{name}.json")), serde_json::to_string_pretty(&list).unwrap())
        .unwrap();
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
