//! Runs a container's hooks, one after the other, in bounded time.

use std::fmt;
use std::time::Duration;

use gantry_model::Hook;
use tokio::time::{Instant, timeout_at};

use super::runtime::Runtime;

/// How long all hooks after a start may take.
pub const AFTER_START: Duration = Duration::from_mins(5);
/// What is left of the grace for the process itself, whatever its hooks take.
const LEFT: Duration = Duration::from_secs(1);

/// Of what a failed hook wrote this much is told, in characters.
const MAX_WORDS: usize = 200;

/// Why hooks failed. Shown as it is written to logs: without arguments and output, which may be secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    what: String,
    output: String,
}

impl Problem {
    fn new(what: String) -> Self {
        Self { what, output: String::new() }
    }

    /// For who reads the replica's status, with the last line that the hook wrote.
    pub fn told(&self) -> String {
        let line = self.output.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        let line: String = line.chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect();
        if line.is_empty() { self.what.clone() } else { format!("{}: {line}", self.what) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// How long the hooks before a stop may take.
pub fn before_stop(grace: Duration) -> Duration {
    grace.saturating_sub(LEFT.min(grace / 2))
}

/// Runs hooks until one fails.
pub async fn run<R: Runtime>(
    runtime: &R,
    id: &str,
    key: &str,
    hooks: &[Hook],
    within: Duration,
) -> Result<(), Problem> {
    let until = Instant::now() + within;
    for hook in hooks {
        // Its arguments may be secrets.
        let name = hook.command.first().map_or("", String::as_str);
        match timeout_at(until, runtime.run_hook(id, hook)).await {
            Ok(Ok((0, _))) => {}
            Ok(Ok((code, output))) => {
                let what = format!("its {key} hook `{name}` ended with exit code {code}");
                return Err(Problem { what, output });
            }
            Ok(Err(error)) => {
                return Err(Problem::new(format!("its {key} hook `{name}` could not be run: {error}")));
            }
            Err(_) => {
                let limit = within.as_secs_f32().ceil();
                return Err(Problem::new(format!("its {key} hook `{name}` did not end within {limit} s")));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managed::simulated::Simulated;

    #[tokio::test]
    async fn a_hook_that_failed_is_named_without_its_arguments_and_logged_without_its_output() {
        let (engine, mut hook) = (Simulated::default(), Hook::default());
        engine.hook_ends("notify", Some(7));
        hook.command = vec!["notify".into(), "--token=hunter2".into()];
        let problem = run(&engine, "c1", "pre_stop", &[hook], AFTER_START).await.unwrap_err();
        assert_eq!(problem.to_string(), "its pre_stop hook `notify` ended with exit code 7");
        assert_eq!(problem.told(), format!("{problem}: the last words"));
    }

    #[test]
    fn of_the_output_one_bounded_line_is_told() {
        let told = |output: &str| Problem { what: "it".into(), output: output.into() }.told();
        assert_eq!(
            told(&format!("a\n{}\n\n", "long ".repeat(1_000))).chars().count(),
            MAX_WORDS + "it: ".len()
        );
        assert_eq!((told("no\n\u{7}way\n"), told(" \n")), ("it: way".to_owned(), "it".to_owned()));
    }

    #[test]
    fn hooks_before_a_stop_leave_a_part_of_the_grace() {
        let seconds = Duration::from_secs;
        assert_eq!(before_stop(seconds(10)), seconds(9));
        assert_eq!(before_stop(seconds(1)), Duration::from_millis(500));
        assert_eq!(before_stop(Duration::ZERO), Duration::ZERO);
    }
}
