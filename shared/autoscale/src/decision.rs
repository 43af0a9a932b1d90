use std::fmt;
use std::time::Duration;

use crate::pace;
use crate::reading::{Reading, words};

/// How many replicas a service is to have, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// How many it is to have: as many as it has, where nothing is to change.
    pub count: u32,
    /// How many it would have if its count were set: differs from `count` with `mode: recommend` only.
    pub recommend: u32,
    /// What changes, or would.
    pub change: Option<Change>,
    /// Why it is left as it is although the load, or the lack of it, would have it otherwise.
    pub held: Option<Held>,
    /// What people should look at.
    pub alert: Option<Alert>,
}

/// Another count, and why: `3 → 5: cpu 91% of 70% target over 3 s`.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// How many there are.
    pub from: u32,
    /// How many there are to be.
    pub to: u32,
    /// Why.
    pub cause: Cause,
    /// Why not as many as are needed.
    pub limit: Option<Limit>,
}

/// Why the count changes.
#[derive(Debug, Clone, PartialEq)]
pub enum Cause {
    /// There is more load than they should take.
    Above {
        /// The signal that asks for most.
        reading: Reading,
        /// For how long.
        over: Duration,
    },
    /// Fewer have been enough.
    Below {
        /// The highest of the signal that asked for most; `None` where there is no target.
        reading: Option<Reading>,
        /// For how long.
        over: Duration,
    },
    /// Answers have been quick enough for fewer.
    Quick {
        /// How long they take now; `None` where there are none.
        reading: Option<Reading>,
        /// For how long.
        over: Duration,
    },
    /// Nobody has wanted anything.
    Idle {
        /// For how long.
        over: Duration,
    },
    /// Somebody wants something of a service that sleeps.
    Wanted {
        /// How many requests wait.
        waiting: u32,
    },
    /// There were fewer than there may be.
    Min {
        /// The fewest.
        min: u32,
        /// The entry of the schedule that says so.
        entry: Option<String>,
    },
    /// There were more than there may be.
    Max {
        /// The most.
        max: u32,
        /// The entry of the schedule that says so.
        entry: Option<String>,
    },
}

/// Why there are not as many as are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// There may not be more.
    Max {
        /// How many would be needed.
        needed: u32,
        /// The most.
        max: u32,
    },
    /// Not so many at once.
    Pace {
        /// How many would be needed.
        needed: u32,
    },
}

/// Why the count is left as it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Held {
    /// Its mode is off.
    Off,
    /// Something else is changing the service.
    Changing(&'static str),
    /// Something is not known.
    NoData(String),
    /// More are needed, but not for long enough yet.
    Above {
        /// How many.
        needed: u32,
        /// The signal that asks for most.
        reading: Reading,
        /// How long it must be so.
        after: Duration,
    },
    /// More are needed than there may be, or may be added at once.
    Limited {
        /// Which it is.
        limit: Limit,
        /// The signal that asks for most.
        reading: Reading,
    },
    /// Fewer would do, but not for long enough yet.
    Below {
        /// How many.
        enough: u32,
        /// How long it must be so.
        after: Duration,
    },
    /// Fewer would do, but some are not ready.
    NotReady {
        /// How many would do.
        enough: u32,
        /// How many are not ready.
        unready: u32,
    },
    /// Fewer would do, but answers take nearly too long.
    Slow(Reading),
    /// Answers take too long, and the last step has not shown yet what it gains.
    Settling(Reading),
    /// Answers take too long, but there are too few of them to know.
    FewAnswers {
        /// How long they take.
        reading: Reading,
        /// How many there are.
        answers: u64,
    },
    /// Answers take too long, and more replicas have not helped.
    InVain(Reading),
}

impl Held {
    /// What it is in one word, for events: a new event is due when the word changes.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Off => "Off",
            Self::Changing(_) => "Changing",
            Self::NoData(_) => "NoData",
            Self::Above { .. } => "Above",
            Self::Limited { limit: Limit::Max { .. }, .. } => "AtMax",
            Self::Limited { limit: Limit::Pace { .. }, .. } => "Pace",
            Self::Below { .. } => "Below",
            Self::NotReady { .. } => "NotReady",
            Self::Slow(_) => "Slow",
            Self::Settling(_) => "Settling",
            Self::FewAnswers { .. } => "FewAnswers",
            Self::InVain(_) => "InVain",
        }
    }
}

/// What people should look at.
#[derive(Debug, Clone, PartialEq)]
pub enum Alert {
    /// More replicas do not make the service quicker.
    BottleneckElsewhere(Reading),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}: {}", self.from, self.to, self.cause)?;
        match self.limit {
            Some(limit) => write!(f, "; {limit}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = |entry: &Option<String>| match entry {
            Some(entry) => format!(" by the schedule's {entry}"),
            None => String::new(),
        };
        match self {
            Self::Above { reading, over } if over.is_zero() => write!(f, "{reading}"),
            Self::Above { reading, over } => write!(f, "{reading} over {}", words(*over)),
            Self::Below { reading: Some(reading), over } => {
                write!(f, "{} over {}", reading.at_most(), words(*over))
            }
            Self::Below { reading: None, over } => write!(f, "nothing asked for more over {}", words(*over)),
            Self::Quick { reading: Some(reading), over } => {
                write!(f, "{reading}, below 70% of it for {}", words(*over))
            }
            Self::Quick { reading: None, over } => write!(f, "no answers to be slow for {}", words(*over)),
            Self::Idle { over } => write!(f, "no request for {}", words(*over)),
            Self::Wanted { waiting: 0 } => f.write_str("somebody wants something"),
            Self::Wanted { waiting: 1 } => f.write_str("1 request waits"),
            Self::Wanted { waiting } => write!(f, "{waiting} requests wait"),
            Self::Min { min, entry } => write!(f, "min is {min}{}", by(entry)),
            Self::Max { max, entry } => write!(f, "max is {max}{}", by(entry)),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max { needed, max } => write!(f, "{needed} are needed, max is {max}"),
            Self::Pace { needed } => {
                let (more, over) = (pace::MORE, words(pace::OVER));
                write!(f, "{needed} are needed, at most doubling or {more} more in {over}")
            }
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("autoscale is off"),
            Self::Changing(what) => write!(f, "{what} is under way"),
            Self::NoData(what) => write!(f, "no data: {what}"),
            Self::Above { needed, reading, after } => {
                write!(f, "{needed} are needed when it stays so for {}: {reading}", words(*after))
            }
            Self::Limited { limit, reading } => write!(f, "{limit}: {reading}"),
            Self::Below { enough, after } => {
                write!(f, "{enough} would do: down when that was so for {}", words(*after))
            }
            Self::NotReady { enough, unready } => {
                let are = if *unready == 1 { "replica is" } else { "replicas are" };
                write!(f, "{enough} would do, but {unready} {are} not ready")
            }
            Self::Slow(reading) => write!(f, "{reading}: no scaling down above 70% of it"),
            Self::Settling(reading) => write!(f, "{reading}: waits for what the last change gains"),
            Self::FewAnswers { reading, answers } => {
                write!(f, "{reading}, but of {answers} answers only: at least 50 count")
            }
            Self::InVain(reading) => {
                write!(f, "{reading}: the last two steps gained less than 10%, the bottleneck is elsewhere")
            }
        }
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BottleneckElsewhere(reading) => {
                write!(f, "the bottleneck is elsewhere: {reading}, and more replicas do not help")
            }
        }
    }
}
