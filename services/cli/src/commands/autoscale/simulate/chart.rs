//! Load and replicas over time, drawn with plain characters.

use std::time::Duration;

use gantry_autoscale::simulate::{Cost, Point, Trace};
use owo_colors::OwoColorize as _;

use super::clock;

/// Lines of a panel.
const ROWS: u32 = 8;
/// The width of what stands left of it.
const MARGIN: usize = 10;
/// Changes that are listed at most.
const LISTED: usize = 25;

/// One column: what was highest in its seconds.
#[derive(Clone, Copy)]
struct Column {
    rps: f64,
    needed: u32,
    wanted: u32,
    ready: u32,
}

impl Column {
    fn of(points: &[Point]) -> Self {
        let most = |of: fn(&Point) -> u32| points.iter().map(of).max().unwrap_or_default();
        let wanted = most(|point| point.count);
        Self {
            rps: points.iter().map(|point| point.rps).fold(0.0, f64::max),
            needed: most(Point::needed),
            wanted,
            // What was taken away in these seconds has not been starting.
            ready: wanted - most(|point| point.count.saturating_sub(point.ready)),
        }
    }

    /// What stands at this height.
    fn mark(&self, height: f64) -> char {
        let reaches = |count: u32| f64::from(count) >= height;
        match () {
            () if reaches(self.ready) && reaches(self.needed) => '#',
            () if reaches(self.ready) => ':',
            () if reaches(self.needed) && !reaches(self.wanted) => '!',
            () if reaches(self.wanted) => '+',
            () => ' ',
        }
    }
}

/// All of it, in so many columns.
pub fn draw(trace: &Trace, cost: &Cost, width: usize, colours: bool) -> String {
    let columns = columns(&trace.points, width.saturating_sub(MARGIN + 1).max(20));
    let most = columns.iter().map(|column| column.rps).fold(1.0, f64::max);
    let mut text = "requests a second\n".to_owned();
    text += &panel(most, &columns, colours, |column, height| if column.rps >= height { '*' } else { ' ' });
    let most = columns.iter().map(|column| column.wanted.max(column.needed)).max().unwrap_or_default().max(1);
    text += "replicas: # needed, : more than needed, + not ready yet, ! missing\n";
    text += &panel(f64::from(most), &columns, colours, Column::mark);
    text += &ends(trace.points.len() as u64, columns.len());
    text += "\n";
    for (second, change) in trace.changes.iter().take(LISTED) {
        text += &format!("{:>8}  {change}\n", clock(Duration::from_secs(*second)));
    }
    if trace.changes.len() > LISTED {
        text += &format!("          … and {} more: --format json shows all\n", trace.changes.len() - LISTED);
    }
    if trace.changes.is_empty() {
        text += "  nothing changes\n";
    }
    text += &format!(
        "\n{:.0} replica-seconds more than needed, {:.0} missing; at most {} replicas, {} changes\n",
        cost.over, cost.under, cost.most, cost.changes
    );
    text
}

/// The seconds, spread over at most so many columns.
fn columns(points: &[Point], width: usize) -> Vec<Column> {
    let each = points.len().div_ceil(width).max(1);
    points.chunks(each).map(Column::of).collect()
}

/// Rows from the top down, with the scale at the left.
fn panel(most: f64, columns: &[Column], colours: bool, mark: impl Fn(&Column, f64) -> char) -> String {
    let mut text = String::new();
    for row in (1..=ROWS).rev() {
        let share = |at: f64| most * at / f64::from(ROWS);
        let label = if row % 4 == 0 { format!("{:.0}", share(f64::from(row))) } else { String::new() };
        // A cell is filled from its middle on.
        let line: String = columns.iter().map(|column| mark(column, share(f64::from(row) - 0.5))).collect();
        text += &format!("{label:>width$} |{}\n", paint(line.trim_end(), colours), width = MARGIN - 2);
    }
    let zero = "0";
    text + &format!("{zero:>width$} +{}\n", "-".repeat(columns.len()), width = MARGIN - 2)
}

fn paint(line: &str, colours: bool) -> String {
    if !colours {
        return line.to_owned();
    }
    line.chars()
        .map(|mark| match mark {
            '#' => mark.green().to_string(),
            ':' | '+' => mark.yellow().to_string(),
            '!' => mark.red().to_string(),
            '*' => mark.cyan().to_string(),
            mark => mark.to_string(),
        })
        .collect()
}

/// Where time begins and ends.
fn ends(seconds: u64, width: usize) -> String {
    let end = clock(Duration::from_secs(seconds));
    let begin = "0:00";
    let gap = width.saturating_sub(begin.len());
    format!("{}{begin}{end:>gap$}\n", " ".repeat(MARGIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(rps: f64, needed: u32, count: u32, ready: u32) -> Point {
        Point { rps, need: f64::from(needed), count, ready, p95: None }
    }

    #[test]
    fn what_is_missing_starting_and_too_much_can_be_told_apart() {
        let mut points = vec![point(100.0, 1, 1, 1); 5];
        points.extend(vec![point(400.0, 4, 1, 1); 3]);
        points.extend(vec![point(400.0, 4, 4, 1); 5]);
        points.extend(vec![point(400.0, 4, 4, 4); 4]);
        points.extend(vec![point(100.0, 1, 4, 4); 3]);
        let trace = Trace { points, changes: Vec::new() };
        let expected = "\
requests a second
     400 |     ************
         |     ************
         |     ************
         |     ************
     200 |     ************
         |     ************
         |********************
         |********************
       0 +--------------------
replicas: # needed, : more than needed, + not ready yet, ! missing
       4 |     !!!+++++####:::
         |     !!!+++++####:::
         |     !!!+++++####:::
         |     !!!+++++####:::
       2 |     !!!+++++####:::
         |     !!!+++++####:::
         |####################
         |####################
       0 +--------------------
          0:00            0:20

  nothing changes

9 replica-seconds more than needed, 24 missing; at most 4 replicas, 1 changes
";
        assert_eq!(draw(&trace, &Cost::of(&trace.points), 31, false), expected);
    }

    #[test]
    fn a_long_time_fits_into_the_width() {
        let trace = Trace { points: vec![point(5.0, 1, 1, 1); 10_000], changes: Vec::new() };
        let text = draw(&trace, &Cost::default(), 80, false);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("2:46:40"), "{text}");
        assert!(!text.contains('\u{1b}'));
        assert!(draw(&trace, &Cost::default(), 80, true).contains('\u{1b}'));
    }
}
