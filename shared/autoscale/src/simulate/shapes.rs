use std::f64::consts::TAU;

use super::load::Load;

/// A classic shape of load.
#[derive(Debug, Clone)]
pub struct Shape {
    /// What it is called.
    pub name: &'static str,
    /// The load.
    pub load: Load,
}

/// The three classic shapes: a step, a ramp, and a sine with spikes.
pub fn shapes() -> [Shape; 3] {
    [
        Shape { name: "step", load: Load::each_second(2_700, step) },
        Shape { name: "ramp", load: Load::each_second(2_700, ramp) },
        Shape { name: "sine with spikes", load: Load::each_second(5_400, sine_with_spikes) },
    ]
}

/// 5 minutes of 100 requests a second, 20 minutes of 1,000, and 20 of 100.
fn step(second: u64) -> f64 {
    if (300..1_500).contains(&second) { 1_000.0 } else { 100.0 }
}

/// From 100 to 1,000 in 10 minutes, 5 minutes there, and back in 10.
fn ramp(second: u64) -> f64 {
    let share = match second {
        300..900 => part(second - 300, 600),
        900..1_200 => 1.0,
        1_200..1_800 => 1.0 - part(second - 1_200, 600),
        _ => 0.0,
    };
    100.0 + 900.0 * share
}

/// Between 100 and 900 with a period of 30 minutes; every 13 minutes twice as much, for 90 seconds.
fn sine_with_spikes(second: u64) -> f64 {
    let wave = 500.0 - 400.0 * (TAU * part(second, 1_800)).cos();
    if second % 780 >= 690 { 2.0 * wave } else { wave }
}

fn part(second: u64, of: u64) -> f64 {
    crate::number::large(second) / crate::number::large(of)
}
