use gantry_model::Timestamp;

/// Longer than this nothing is replayed: a week, second by second.
const LONGEST: u64 = 7 * 24 * 3_600;

/// Requests a second over time. Each point holds until the next; the last one is the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// Seconds from the beginning, and requests a second from there on.
    points: Vec<(u64, f64)>,
    begin: Option<Timestamp>,
}

/// Why a load cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLoad {
    /// A line is none of a load.
    #[error(
        "line {line}: {text:?} is no time and load: write lines such as `60,250` (seconds, requests a second) or `2026-01-31T12:00:00Z,250`"
    )]
    Line {
        /// Which, from 1.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// Time runs backwards.
    #[error("line {0}: its time is not after that of the line before")]
    Order(usize),
    /// There is nothing to replay.
    #[error("there are fewer than two lines: the last one says when the load ends")]
    Short,
    /// It lasts too long.
    #[error("it lasts longer than a week: cut it, or write one line for several seconds")]
    Long,
}

impl Load {
    /// Reads lines of `time,requests a second`. The time is in seconds, or a point in time as RFC 3339 has
    /// it. Empty lines, lines that begin with `#`, a head, and further columns are left out; so are lines whose load
    /// is empty, as it is not known: the one before holds.
    pub fn parse(csv: &str) -> Result<Self, BadLoad> {
        let mut points: Vec<(u64, f64)> = Vec::new();
        let (mut first, mut begin) = (None, None);
        let lines = csv.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
        let lines = lines.filter(|(_, text)| !text.is_empty() && !text.starts_with('#') && !is_gap(text));
        for (place, (line, text)) in lines.enumerate() {
            let Some((time, is_point, rps)) = read(text) else {
                let is_head = place == 0 && !text.starts_with(|c: char| c.is_ascii_digit());
                if is_head {
                    continue;
                }
                return Err(BadLoad::Line { line, text: text.chars().take(60).collect() });
            };
            let start = *first.get_or_insert_with(|| {
                begin = is_point.then(|| Timestamp::from_millis(time.saturating_mul(1_000)));
                time
            });
            let second = time.checked_sub(start).and_then(|second| u64::try_from(second).ok());
            let second = second.ok_or(BadLoad::Order(line))?;
            if points.last().is_some_and(|(before, _)| *before >= second) {
                return Err(BadLoad::Order(line));
            }
            if second > LONGEST {
                return Err(BadLoad::Long);
            }
            points.push((second, rps));
        }
        if points.len() < 2 { Err(BadLoad::Short) } else { Ok(Self { points, begin }) }
    }

    /// One load for each second.
    pub fn each_second(seconds: u64, rps: impl Fn(u64) -> f64) -> Self {
        let points = (0..=seconds).map(|second| (second, rps(second).max(0.0))).collect();
        Self { points, begin: None }
    }

    /// How many seconds it lasts.
    pub fn seconds(&self) -> u64 {
        self.points.last().map_or(0, |(second, _)| *second)
    }

    /// When it began, where its times are points in time.
    pub fn begin(&self) -> Option<Timestamp> {
        self.begin
    }

    /// Requests a second in that second.
    pub fn at(&self, second: u64) -> f64 {
        let next = self.points.partition_point(|(point, _)| *point <= second);
        next.checked_sub(1).and_then(|at| self.points.get(at)).map_or(0.0, |(_, rps)| *rps)
    }

    /// The most of all seconds.
    pub fn most(&self) -> f64 {
        self.points.iter().map(|(_, rps)| *rps).fold(0.0, f64::max)
    }
}

/// The first two columns, by the first separator that stands in the line.
fn columns(line: &str) -> Option<(&str, &str)> {
    let at = line.find([',', ';', '\t'])?;
    let (time, rest) = line.split_at(at);
    let mut columns = rest.split(rest.chars().next()?).skip(1);
    Some((time, columns.next()?.trim()))
}

/// Whether a line says no load for its time.
fn is_gap(line: &str) -> bool {
    columns(line).is_some_and(|(_, rps)| rps.is_empty())
}

/// The second, whether it is one of a calendar, and the load.
fn read(line: &str) -> Option<(i64, bool, f64)> {
    let (time, rps) = columns(line)?;
    let (time, rps) = (time.trim().trim_matches('"'), rps.trim().trim_matches('"'));
    let rps: f64 = rps.parse().ok().filter(|rps: &f64| rps.is_finite() && *rps >= 0.0)?;
    let (second, is_point) = match time.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds.abs() < 1e12 => {
            #[allow(clippy::cast_possible_truncation)] // Checked to be in range just here.
            let whole = seconds.floor() as i64;
            (whole, false)
        }
        Ok(_) => return None,
        Err(_) => (time.parse::<jiff::Timestamp>().ok()?.as_second(), true),
    };
    Some((second, is_point, rps))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_holds_until_the_next() {
        let load = Load::parse("time,rps\n# quiet\n0,100\n\n60, 250.5\n90,0\n").unwrap();
        assert_eq!(load.seconds(), 90);
        let all = [0, 59, 60, 89, 90].map(|second| load.at(second).to_string());
        assert_eq!(all, ["100", "100", "250.5", "250.5", "0"]);
        assert!((load.most() - 250.5).abs() < 1e-9);
        assert_eq!(load.begin(), None);
    }

    #[test]
    fn further_columns_and_seconds_of_which_nothing_is_known_are_left_out() {
        let load = Load::parse("second,rps,jobs\n0,100,7\n1,,\n2,\"50\",\n3,0,8\n").unwrap();
        assert_eq!([0, 1, 2].map(|second| load.at(second).to_string()), ["100", "100", "50"]);
        assert!(Load::parse("0;2,5\n9;0\n").is_err(), "no number as we write them");
    }

    #[test]
    fn times_may_be_points_in_time() {
        let load = Load::parse("2026-01-31T12:00:00Z,1\n2026-01-31T12:01:00+00:00,2\n").unwrap();
        assert_eq!((load.seconds(), load.at(59) < load.at(60)), (60, true));
        assert_eq!(load.begin().map(|begin| begin.to_string()).as_deref(), Some("2026-01-31T12:00:00.000Z"));
    }

    #[test]
    fn what_cannot_be_read_says_which_line() {
        let wrong = |csv| Load::parse(csv).unwrap_err();
        assert_eq!(wrong("0,1\n5,lots\n"), BadLoad::Line { line: 2, text: "5,lots".into() });
        assert!(wrong("0,1\n5,-1\n").to_string().contains("such as `60,250`"));
        assert_eq!(wrong("0,1\n9,1\n9,2\n"), BadLoad::Order(3));
        assert_eq!(wrong("5,1\n0,2\n"), BadLoad::Order(2));
        assert_eq!([wrong(""), wrong("time,rps\n0,1\n")], [BadLoad::Short, BadLoad::Short]);
        assert_eq!(wrong("0,1\n999999999,1\n"), BadLoad::Long);
    }
}
