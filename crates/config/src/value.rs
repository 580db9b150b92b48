//! Values with units: how they are read and how they are written so that they read back exactly.

use std::fmt;

/// A configuration value.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Bytes.
    Size(u64),
    /// Nanoseconds.
    Duration(u64),
    /// Several of them, separated by `/`.
    Durations(Vec<u64>),
    /// Bytes per second; 0 = infinitely fast.
    Bandwidth(u64),
    /// Hertz.
    Frequency(u64),
    /// A plain number.
    Count(u64),
    /// Thousandths of a whole, written as a percentage.
    Permille(u32),
    /// Thousandths, written as a number.
    Factor(u32),
    /// Thousandths of a cycle.
    Millicycles(u64),
    /// One of a list.
    Choice(&'static str),
    /// On or off.
    Bool(bool),
    /// Any text.
    Text(String),
}

const BINARY: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const DECIMAL: [(&str, u64); 4] =
    [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1_000)];
const TIMES: [(&str, u64); 4] = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1)];
/// Longest time of a key: sums of them stay far from the end of virtual time (584 years).
const LONGEST_NS: u64 = 3_600_000_000_000;
const RATES: [(&str, u64); 4] =
    [("GHz", 1_000_000_000), ("MHz", 1_000_000), ("kHz", 1_000), ("Hz", 1)];

impl Value {
    /// As a TOML value.
    pub fn to_toml(&self) -> String {
        match self {
            Self::Count(_) | Self::Bool(_) | Self::Millicycles(_) | Self::Factor(_) => {
                self.to_string()
            }
            Self::Text(text) => toml::Value::String(text.clone()).to_string(),
            _ => format!("\"{self}\""),
        }
    }

    /// As a JSON value in the base unit: numbers are numbers.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Size(n)
            | Self::Duration(n)
            | Self::Bandwidth(n)
            | Self::Frequency(n)
            | Self::Count(n) => (*n).into(),
            Self::Durations(all) => all.as_slice().into(),
            Self::Permille(n) => (f64::from(*n) / 10.0).into(),
            Self::Millicycles(n) => (*n as f64 / 1000.0).into(),
            Self::Factor(n) => (f64::from(*n) / 1000.0).into(),
            Self::Choice(text) => (*text).into(),
            Self::Bool(on) => (*on).into(),
            Self::Text(text) => text.as_str().into(),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with_unit = |f: &mut fmt::Formatter<'_>, n: u64, units: &[(&str, u64)], tail: &str| {
            let fits = |(_, scale): &&(&str, u64)| n.is_multiple_of(*scale);
            let (unit, scale) = units
                .iter()
                .find(fits)
                .filter(|_| n > 0)
                .or(units.last())
                .copied()
                .unwrap_or(("", 1));
            write!(f, "{}{unit}{tail}", n / scale)
        };
        match self {
            Self::Size(n) => with_unit(f, *n, &BINARY, ""),
            Self::Duration(n) => with_unit(f, *n, &TIMES, ""),
            Self::Durations(all) => {
                let times = all.iter().map(|ns| Self::Duration(*ns).to_string());
                write!(f, "{}", times.collect::<Vec<_>>().join("/"))
            }
            Self::Bandwidth(0) => write!(f, "unlimited"),
            Self::Bandwidth(n) if n.is_multiple_of(1000) => with_unit(f, *n, &DECIMAL, "/s"),
            Self::Bandwidth(n) => write!(f, "{n}B/s"),
            Self::Frequency(n) => with_unit(f, *n, &RATES, ""),
            Self::Count(n) => write!(f, "{n}"),
            Self::Permille(n) => write_thousandths(f, u64::from(*n) * 100).and(write!(f, "%")),
            Self::Millicycles(n) => write_thousandths(f, *n),
            Self::Factor(n) => write_thousandths(f, (*n).into()),
            Self::Choice(text) => write!(f, "{text}"),
            Self::Bool(on) => write!(f, "{on}"),
            Self::Text(text) => write!(f, "{text}"),
        }
    }
}

fn write_thousandths(f: &mut fmt::Formatter<'_>, n: u64) -> fmt::Result {
    let fraction = format!("{:03}", n % 1000);
    match fraction.trim_end_matches('0') {
        "" => write!(f, "{}", n / 1000),
        digits => write!(f, "{}.{digits}", n / 1000),
    }
}

/// A decimal number times a scale, exactly; `None` if it is not a number or not whole.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let number = number.trim().replace('_', "");
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 18 {
        return None;
    }
    let unit = 10u128.pow(fraction.len() as u32);
    let fraction: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let value = whole.parse::<u128>().ok()?.checked_mul(unit)?.checked_add(fraction)?;
    let value = value.checked_mul(u128::from(scale))?;
    if value % unit != 0 {
        return None;
    }
    u64::try_from(value / unit).ok()
}

/// A number with one of the given units.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(at);
    let (_, scale) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    scaled(number, *scale)
}

/// A number of bytes: `16GiB`, `512B`, `64K`, or a plain number of bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    const SHORT: [(&str, u64); 4] =
        [("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];
    let plain = scaled(text, 1);
    let units = || BINARY.iter().chain(&DECIMAL).chain(&SHORT).copied().collect::<Vec<_>>();
    plain
        .or_else(|| with_unit(text, &units()))
        .ok_or_else(|| "not a size; write it as 512B, 64KiB, 16GiB, 1TiB".into())
}

/// Nanoseconds of a time with a unit, for example 80us.
pub fn parse_duration(text: &str) -> Result<u64, String> {
    let zero = (text.trim() == "0").then_some(0);
    let value = zero.or_else(|| with_unit(text, &TIMES));
    let value =
        value.ok_or("not a time; write it with a unit: ns, us, ms, s (for example 40us)")?;
    if value > LONGEST_NS {
        return Err("longer than an hour; choose at most 3600s".into());
    }
    Ok(value)
}

/// Bytes per second of a rate with a unit, for example 100MB/s; `unlimited` is 0.
pub fn parse_bandwidth(text: &str) -> Result<u64, String> {
    if text.trim() == "unlimited" {
        return Ok(0);
    }
    let units: Vec<_> = BINARY.iter().chain(&DECIMAL).copied().collect();
    let value = text.trim().strip_suffix("/s").and_then(|text| with_unit(text, &units));
    value
        .filter(|&v| v > 0)
        .ok_or_else(|| "not a bandwidth; write it as 3.5GB/s, 800MB/s, 1GiB/s, or unlimited".into())
}

pub(crate) fn parse_frequency(text: &str) -> Result<u64, String> {
    let value = with_unit(text, &RATES).filter(|&v| v >= 1_000_000);
    value.ok_or_else(|| "not a frequency of at least 1MHz; write it as 1.5GHz, 800MHz".into())
}

pub(crate) fn parse_count(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let value = text.trim().replace('_', "").parse().ok();
    value
        .filter(|v| (min..=max).contains(v))
        .ok_or_else(|| format!("not a whole number from {min} to {max}"))
}

pub(crate) fn parse_permille(text: &str) -> Result<u32, String> {
    let number = text.trim();
    let number = number.strip_suffix('%').unwrap_or(number);
    let value = scaled(number, 10).and_then(|v| u32::try_from(v).ok());
    value
        .filter(|&v| v <= 10_000)
        .ok_or_else(|| "not a percentage from 0% to 1000% in steps of 0.1".into())
}

pub(crate) fn parse_millicycles(text: &str) -> Result<u64, String> {
    let value = scaled(text, 1000).filter(|&v| v <= 10_000_000);
    value.ok_or_else(|| "not a number of cycles from 0 to 10000 in steps of 0.001".into())
}

pub(crate) fn parse_factor(text: &str) -> Result<u32, String> {
    let value = scaled(text, 1000).filter(|&v| (1..=1_000_000).contains(&v));
    let value = value.and_then(|v| u32::try_from(v).ok());
    value.ok_or_else(|| "not a factor from 0.001 to 1000 in steps of 0.001".into())
}

pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    match text.trim() {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        _ => Err("choose true or false".into()),
    }
}

/// A signed 64-bit number, decimal or hexadecimal, also as its unsigned bit pattern.
pub fn parse_integer(text: &str) -> Result<i64, String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let magnitude = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    let wrong = || "not a 64-bit number, decimal or 0x hexadecimal".to_owned();
    let magnitude = magnitude.map_err(|_| wrong())?;
    if negative {
        return 0i64.checked_sub_unsigned(magnitude).ok_or_else(wrong);
    }
    Ok(magnitude as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units_are_exact() {
        assert_eq!(parse_size("16GiB"), Ok(16 << 30));
        assert_eq!(parse_size("1.5 KiB"), Ok(1536));
        assert_eq!(parse_size("64k"), Ok(65_536));
        assert_eq!(parse_size("4096"), Ok(4096));
        assert_eq!(parse_duration("0.5us"), Ok(500));
        assert_eq!(parse_bandwidth("3.5GB/s"), Ok(3_500_000_000));
        assert_eq!(parse_frequency("1.5GHz"), Ok(1_500_000_000));
        assert_eq!(parse_permille("7%"), Ok(70));
        assert_eq!(parse_millicycles("0.5"), Ok(500));
        assert_eq!(parse_integer("-0x10"), Ok(-16));
        assert_eq!(parse_integer("0xFFFFFFFFFFFFFFFF"), Ok(-1));
        assert_eq!(parse_integer("-9223372036854775808"), Ok(i64::MIN));
        for bad in ["", "GiB", "-1GiB", "1.3B", "99999999999TiB", "1e3", "1..2KiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        for bad in ["", "0x", "1.5", "99999999999999999999", "-9223372036854775809", "ten"] {
            assert!(parse_integer(bad).is_err(), "{bad}");
        }
    }
}
