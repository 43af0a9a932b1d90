//! Durations, sizes and shares of a core, as Compose writes them.

use std::time::Duration;

/// `1h30m`, `90s`, `1.5s`, `500ms`, `10us`; a bare number is seconds.
pub fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return positive(seconds);
    }
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).filter(|digits| *digits > 0)?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let scale = match &rest[..unit] {
            "d" => 86_400.0,
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total += number * scale;
        rest = &rest[unit..];
    }
    if text.is_empty() { None } else { positive(total) }
}

fn positive(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

/// `64M`, `1.5g`, `512mb`, `100k`, `1024`, `2GiB`: powers of 1024, as Docker counts.
pub fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let scale: f64 = match text[digits..].trim() {
        "" | "b" => 1.0,
        "k" | "kb" | "kib" => 1024.0,
        "m" | "mb" | "mib" => 1024.0 * 1024.0,
        "g" | "gb" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "t" | "tb" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let size = number * scale;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Checked to be in range just here.
    (size.is_finite() && (0.0..9.0e18).contains(&size)).then_some(size.round() as u64)
}

/// `0.5`, `2`, `1.25` cores, in billionths of a core.
pub fn nano_cpus(text: &str) -> Option<i64> {
    let cores: f64 = text.trim().parse().ok()?;
    #[allow(clippy::cast_possible_truncation)] // Checked to be in range just here.
    (cores.is_finite() && (0.0..=10_000.0).contains(&cores)).then_some((cores * 1e9).round() as i64)
}

/// `70%`, or `70`: whole per cent.
pub fn percent(text: &str) -> Option<u32> {
    let text = text.trim();
    text.strip_suffix('%').unwrap_or(text).trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        for (text, share) in [("70%", 70), ("70", 70), (" 5 % ", 5), ("250%", 250)] {
            assert_eq!(percent(text), Some(share), "{text}");
        }
        for text in ["", "%", "0.7", "-1%", "70%%", "much"] {
            assert_eq!(percent(text), None, "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, millis) in [
            ("1h30m", 5_400_000),
            ("90s", 90_000),
            ("1.5s", 1_500),
            ("500ms", 500),
            ("2", 2_000),
            ("1m30s", 90_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "x", "5 parsecs", "-1s", "s", "1h-30m", "1e999"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, size) in [
            ("64M", 64 << 20),
            ("1.5g", 3 << 29),
            ("512mb", 512 << 20),
            ("1024", 1024),
            ("2GiB", 2 << 30),
            ("1b", 1),
        ] {
            assert_eq!(bytes(text), Some(size), "{text}");
        }
        for text in ["", "M", "-1", "1x", "1e99g"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    #[test]
    fn cores() {
        assert_eq!(nano_cpus("0.5"), Some(500_000_000));
        assert_eq!(nano_cpus("-1"), None);
        assert_eq!(nano_cpus("many"), None);
    }
}
