//! Quantities as people write them: `"250ms"`, `"64KiB"`, `"20/min"`, `"off"`.
//!
//! Each kind reads what a file may hold and prints itself in the one form it would be read back
//! from. The complaints are whole sentences, because an operator reads them as they are.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Rate;

/// A scalar as it stands in a file, before anyone decided what it means.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Written {
    Switch(bool),
    Number(i64),
    Text(String),
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch(switch) => write!(f, "{switch}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// A length of time: `"250ms"`, `"5m"`, `"1h30m"`, `"0s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub(super) struct Period(pub(super) Duration);

/// A number of bytes: `"64KiB"`, `"10MiB"`, `4096`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub(super) struct Size(pub(super) u64);

/// A size, or `"unlimited"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub(super) struct SizeLimit(pub(super) Option<u64>);

/// A rate such as `"120/min"`, or `"off"`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub(super) struct RateLimit(pub(super) Option<Rate>);

/// A number of something, or `"off"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub(super) struct CountLimit(pub(super) Option<u32>);

/// Reads `written` as the quantity that the schema calls `kind`, only to see whether it can be.
pub(super) fn check(kind: &str, written: Written) -> Result<(), String> {
    canonical(kind, written).map(drop)
}

/// Whether two ways of writing a quantity mean the same.
pub(super) fn same(kind: &str, one: Written, other: Written) -> bool {
    matches!((canonical(kind, one), canonical(kind, other)), (Ok(one), Ok(other)) if one == other)
}

/// The one form in which a quantity prints itself.
fn canonical(kind: &str, written: Written) -> Result<String, String> {
    let written: Written = match kind {
        Period::KIND => Period::try_from(written)?.into(),
        Size::KIND => Size::try_from(written)?.into(),
        SizeLimit::KIND => SizeLimit::try_from(written)?.into(),
        RateLimit::KIND => RateLimit::try_from(written)?.into(),
        CountLimit::KIND => CountLimit::try_from(written)?.into(),
        _ => written,
    };
    Ok(written.to_string())
}

/// Whether a bare integer in an environment variable should be read as a number for `kind`.
pub(super) fn takes_numbers(kind: &str) -> bool {
    kind != Period::KIND && kind != RateLimit::KIND
}

impl Period {
    pub(super) const KIND: &str = "duration";

    pub(super) const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    pub(super) const fn minutes(minutes: u64) -> Self {
        Self(Duration::from_secs(minutes * 60))
    }
}

impl Size {
    const KIND: &str = "size";

    pub(super) const fn kibibytes(count: u64) -> Self {
        Self(count << 10)
    }

    pub(super) const fn mebibytes(count: u64) -> Self {
        Self(count << 20)
    }
}

impl SizeLimit {
    const KIND: &str = "size or unlimited";
}

impl RateLimit {
    const KIND: &str = "rate";

    pub(super) const fn per_minute(count: u32) -> Self {
        Self(Some(Rate { count, per: Duration::from_secs(60) }))
    }
}

impl CountLimit {
    const KIND: &str = "count";
}

/// Longer than this is a slip of the pen, and sums with it could overflow.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl TryFrom<Written> for Period {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let text = match written {
            Written::Text(text) => text,
            Written::Number(number) if number >= 0 => {
                return Err(format!("a duration needs a unit; did you mean \"{number}s\"?"));
            }
            other => return Err(not_a_duration(&other)),
        };
        let mut total = Duration::ZERO;
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(not_a_duration(&Written::Text(text)));
        }
        while !rest.is_empty() {
            let (number, after) = split_number(rest);
            let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
            let (unit, next) = after.split_at(unit_end);
            let Some(milliseconds) = lookup(&DURATION_UNITS, unit) else {
                return Err(not_a_duration(&Written::Text(text)));
            };
            let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(milliseconds));
            let Some(part) = part else {
                return Err(not_a_duration(&Written::Text(text)));
            };
            total = total.saturating_add(Duration::from_millis(part));
            rest = next;
        }
        if total > LONGEST {
            return Err(format!("{text:?} is longer than ten years"));
        }
        Ok(Self(total))
    }
}

fn not_a_duration(written: &Written) -> String {
    format!("{written} is not a duration; write a number and one of ms, s, m, h, d, such as \"5m\"")
}

impl From<Period> for Written {
    fn from(period: Period) -> Self {
        Self::Text(period.to_string())
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        // The largest unit of which it is a whole number.
        match DURATION_UNITS.iter().find(|(_, milliseconds)| total > 0 && total.is_multiple_of(*milliseconds))
        {
            Some((unit, milliseconds)) => write!(f, "{}{unit}", total / milliseconds),
            None => f.write_str("0s"),
        }
    }
}

impl TryFrom<Written> for Size {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let text = match &written {
            Written::Number(number) => {
                return u64::try_from(*number).map(Self).map_err(|_| not_a_size(&written));
            }
            Written::Text(text) => text.trim(),
            Written::Switch(_) => return Err(not_a_size(&written)),
        };
        let (number, unit) = split_number(text);
        let unit = if unit.is_empty() { "B" } else { unit.trim_start() };
        let Some(bytes) = lookup(&SIZE_UNITS, unit) else {
            return Err(match meant_binary(unit) {
                Some(meant) => format!("{written} is not a size; did you mean \"{number}{meant}\"?"),
                None => not_a_size(&written),
            });
        };
        number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(bytes))
            .filter(|bytes| *bytes <= i64::MAX as u64)
            .map(Self)
            .ok_or_else(|| not_a_size(&written))
    }
}

fn not_a_size(written: &Written) -> String {
    format!("{written} is not a size; write a number and one of B, KiB, MiB, GiB, such as \"64KiB\"")
}

fn meant_binary(unit: &str) -> Option<&'static str> {
    match unit.to_ascii_lowercase().as_str() {
        "k" | "kb" | "kib" => Some("KiB"),
        "m" | "mb" | "mib" => Some("MiB"),
        "g" | "gb" | "gib" => Some("GiB"),
        _ => None,
    }
}

impl From<Size> for Written {
    fn from(size: Size) -> Self {
        Self::Text(size.to_string())
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = SIZE_UNITS.iter().find(|(_, bytes)| self.0 >= *bytes && self.0.is_multiple_of(*bytes));
        match exact {
            Some((unit, bytes)) => write!(f, "{}{unit}", self.0 / bytes),
            None => f.write_str("0B"),
        }
    }
}

impl TryFrom<Written> for SizeLimit {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match &written {
            Written::Text(text) if text == "unlimited" => Ok(Self(None)),
            _ => Size::try_from(written)
                .map(|size| Self(Some(size.0)))
                .map_err(|problem| format!("{problem}; \"unlimited\" lifts the limit")),
        }
    }
}

impl From<SizeLimit> for Written {
    fn from(limit: SizeLimit) -> Self {
        limit.0.map_or_else(|| Self::Text("unlimited".to_owned()), |bytes| Size(bytes).into())
    }
}

impl TryFrom<Written> for RateLimit {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        if is_off(&written) {
            return Ok(Self(None));
        }
        let rate = match &written {
            Written::Text(text) => text.split_once('/').and_then(|(count, window)| {
                let seconds = match window.trim() {
                    "s" => 1,
                    "min" => 60,
                    "h" => 3_600,
                    _ => return None,
                };
                let count = count.trim().parse::<u32>().ok().filter(|count| *count > 0)?;
                Some(Rate { count, per: Duration::from_secs(seconds) })
            }),
            _ => None,
        };
        rate.map(|rate| Self(Some(rate))).ok_or_else(|| {
            format!("{written} is not a rate; write a number, / and one of s, min, h, such as \"20/min\", or \"off\"")
        })
    }
}

impl From<RateLimit> for Written {
    fn from(limit: RateLimit) -> Self {
        let Some(rate) = limit.0 else {
            return Self::Text("off".to_owned());
        };
        let window = match rate.per.as_secs() {
            1 => "s",
            60 => "min",
            _ => "h",
        };
        Self::Text(format!("{}/{window}", rate.count))
    }
}

impl TryFrom<Written> for CountLimit {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        if is_off(&written) {
            return Ok(Self(None));
        }
        let count = match &written {
            Written::Number(number) => u32::try_from(*number).ok(),
            _ => None,
        };
        count
            .filter(|count| *count > 0)
            .map(|count| Self(Some(count)))
            .ok_or_else(|| format!("{written} is not a limit; write a whole number from 1 up, or \"off\""))
    }
}

impl From<CountLimit> for Written {
    fn from(limit: CountLimit) -> Self {
        limit.0.map_or_else(|| Self::Text("off".to_owned()), |count| Self::Number(count.into()))
    }
}

fn is_off(written: &Written) -> bool {
    matches!(written, Written::Switch(false)) || matches!(written, Written::Text(text) if text == "off")
}

/// The leading ASCII digits of `text`, and what follows them.
fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn lookup(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    units.iter().find(|(name, _)| *name == unit.trim_end()).map(|(_, factor)| *factor)
}

/// The schema of each kind: what editors check, and `x-unit`, by which [`check`] is called.
macro_rules! unit_schema {
    ($name:ident, $types:tt, $pattern:literal) => {
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                schemars::json_schema!({ "type": $types, "pattern": $pattern, "x-unit": Self::KIND })
            }
        }
    };
}

unit_schema!(Period, "string", r"^([0-9]+(ms|s|m|h|d))+$");
unit_schema!(Size, ["string", "integer"], r"^[0-9]+(B|KiB|MiB|GiB)?$");
unit_schema!(SizeLimit, ["string", "integer"], r"^([0-9]+(B|KiB|MiB|GiB)?|unlimited)$");
unit_schema!(RateLimit, ["string", "boolean"], r"^([1-9][0-9]*/(s|min|h)|off)$");
unit_schema!(CountLimit, ["string", "integer", "boolean"], r"^off$");

/// One text, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(super) fn as_slice(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }

    pub(super) const fn is_one(&self) -> bool {
        matches!(self, Self::One(_))
    }
}

impl JsonSchema for OneOrMany {
    fn schema_name() -> Cow<'static, str> {
        "OneOrMany".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let text = json!({ "type": "string" });
        schemars::json_schema!({ "type": ["string", "array"], "items": text })
    }
}
