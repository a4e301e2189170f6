//! Lengths of time as people write them: a number and its unit.

use std::time::Duration;

/// Reads "30d", "12h", "90m" or "45s".
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let rule = || "a number and a unit, for example 30d, 12h, 90m or 45s".to_owned();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).ok_or_else(rule)?);
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(rule()),
    };
    let number: u64 = number.parse().map_err(|_| rule())?;
    Ok(Duration::from_secs(number.checked_mul(seconds).ok_or_else(rule)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_and_a_unit() {
        for (text, seconds) in [("0s", 0), ("45s", 45), ("90m", 5400), ("12h", 43_200), ("30d", 2_592_000)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "5", "s", "-1s", "1.5h", "3w", "1 d", "99999999999999999999s", "999999999999999999d"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
