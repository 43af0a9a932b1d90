//! The only places where services read the clock and draw random numbers; decisions get both passed in.

use std::time::SystemTime;

use gantry_model::Timestamp;
use rand::RngExt as _;

/// The time now.
pub fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

/// `length` random lower-case letters and digits: 5 bits of chance each.
pub fn random_id(length: usize) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = rand::rng();
    (0..length).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect()
}
