/// Numbers that look random and can be had again from their start.
pub struct Dice(u64);

impl Dice {
    /// One whose seed is printed, so that it can be had again: `GANTRY_E2E_SEED=NUMBER`.
    pub fn new() -> Self {
        let given = std::env::var("GANTRY_E2E_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| std::process::id().into());
        eprintln!("seed {seed}");
        Self(seed)
    }

    /// The next one, below a bound.
    pub fn roll(&mut self, below: u64) -> u64 {
        // Knuth's MMIX generator.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

impl Default for Dice {
    fn default() -> Self {
        Self::new()
    }
}
