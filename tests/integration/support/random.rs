//! Random numbers for tests that try inputs nobody thought of, repeatable from a printed seed.

/// Set to repeat a run.
const SEED: &str = "LOCKSTEP_SEED";

/// splitmix64.
pub struct Random(u64);

impl Random {
    /// From the environment's seed, or a new one; printed, so that a failure shows it.
    pub fn new() -> Self {
        let given = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            since.expect("it is after 1970").as_nanos() as u64
        });
        println!("{SEED}={seed}");
        Self(seed)
    }

    /// From a number that another one of these has made.
    pub fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Less than `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}
