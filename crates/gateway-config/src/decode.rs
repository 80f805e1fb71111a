//! From written values to typed ones, with an error that says where and what was expected.

use std::env::VarError;
use std::time::Duration;

use gateway_auth::Secret;

use crate::error::{ConfigError, Origin};
use crate::expand::expand;
use crate::tree::{Entry, Node, Value};

/// Looks up an environment variable; [`std::env::var`] is one.
pub(crate) type Variable<'a> = &'a dyn Fn(&str) -> Result<String, VarError>;

/// The longest duration taken: more than three years, and far from any overflow of a clock.
const MAX_SECONDS: f64 = 1e8;

/// A table being read: which of its keys were asked for, so that what is left over is unknown.
pub(crate) struct Table<'a> {
    key: String,
    entries: &'a [Entry],
    taken: Vec<bool>,
    asked: Vec<&'static str>,
    /// Where the table itself stands.
    origin: Origin,
    variable: Variable<'a>,
}

impl<'a> Table<'a> {
    /// # Errors
    ///
    /// Where a key is given twice: whichever was meant, the other would be ignored.
    pub(crate) fn new(
        key: String,
        entries: &'a [Entry],
        origin: Origin,
        variable: Variable<'a>,
    ) -> Result<Self, ConfigError> {
        for (index, entry) in entries.iter().enumerate() {
            if let Some(first) = entries[..index].iter().find(|first| first.key == entry.key) {
                return Err(ConfigError::new(
                    entry.origin.clone(),
                    join(&key, &entry.key),
                    format!(
                        "this key is given twice; the first time at {}",
                        first.origin
                    ),
                ));
            }
        }
        Ok(Table {
            key,
            entries,
            taken: vec![false; entries.len()],
            asked: Vec::new(),
            origin,
            variable,
        })
    }

    fn take(&mut self, key: &'static str) -> Option<Field<'a>> {
        self.asked.push(key);
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        self.taken[at] = true;
        Some(self.field(&self.entries[at]))
    }

    fn field(&self, entry: &'a Entry) -> Field<'a> {
        Field {
            node: &entry.value,
            key: join(&self.key, &entry.key),
            variable: self.variable,
        }
    }

    /// Reads `key` into `slot` where it is given.
    pub(crate) fn set<T>(
        &mut self,
        key: &'static str,
        slot: &mut T,
        read: impl FnOnce(&Field<'a>) -> Result<T, ConfigError>,
    ) -> Result<(), ConfigError> {
        if let Some(field) = self.take(key) {
            *slot = read(&field)?;
        }
        Ok(())
    }

    /// The same for a key that has no default, and that `null` leaves unset.
    pub(crate) fn set_optional<T>(
        &mut self,
        key: &'static str,
        slot: &mut Option<T>,
        read: impl FnOnce(&Field<'a>) -> Result<T, ConfigError>,
    ) -> Result<(), ConfigError> {
        match self.take(key) {
            Some(field) if !field.is_null() => *slot = Some(read(&field)?),
            Some(_) => *slot = None,
            None => {}
        }
        Ok(())
    }

    /// Reads a key that must be there.
    pub(crate) fn require<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Field<'a>) -> Result<T, ConfigError>,
    ) -> Result<T, ConfigError> {
        match self.take(key) {
            Some(field) => read(&field),
            None => Err(ConfigError::new(
                self.origin.clone(),
                join(&self.key, key),
                "this key is missing",
            )),
        }
    }

    /// Refuses a key that the gateway knows but cannot honour, unless `harmless` says that what
    /// is written there asks for nothing. `null` never asks for anything.
    pub(crate) fn refuse(
        &mut self,
        key: &'static str,
        harmless: impl FnOnce(&Field<'a>) -> bool,
        message: &str,
    ) -> Result<(), ConfigError> {
        match self.take(key) {
            Some(field) if !field.is_null() && !harmless(&field) => Err(field.error(message)),
            _ => Ok(()),
        }
    }

    /// Ends the reading: a key that nobody asked for is an error.
    pub(crate) fn finish(self) -> Result<(), ConfigError> {
        let Some(at) = self.taken.iter().position(|taken| !taken) else {
            return Ok(());
        };
        let entry = &self.entries[at];
        let nearest = self
            .asked
            .iter()
            .min_by_key(|known| strsim::osa_distance(known, &entry.key))
            .expect("a table that knows no keys is not read with finish");
        Err(ConfigError::new(
            entry.origin.clone(),
            join(&self.key, &entry.key),
            format!("unknown key; the nearest known one is {nearest}"),
        ))
    }

    /// Every entry, for a table whose keys are the operator's own.
    pub(crate) fn into_entries(self) -> Vec<(&'a Entry, Field<'a>)> {
        self.entries
            .iter()
            .map(|entry| (entry, self.field(entry)))
            .collect()
    }
}

/// One written value and the path of keys that leads to it.
pub(crate) struct Field<'a> {
    node: &'a Node,
    key: String,
    variable: Variable<'a>,
}

impl<'a> Field<'a> {
    pub(crate) fn error(&self, message: impl Into<String>) -> ConfigError {
        ConfigError::new(self.node.origin.clone(), self.key.clone(), message)
    }

    /// An error for a value of the wrong type or outside what is allowed.
    pub(crate) fn expected(&self, what: &str) -> ConfigError {
        self.error(format!("expected {what}, found {}", self.found()))
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.node.value, Value::Null)
    }

    pub(crate) fn is_table(&self) -> bool {
        matches!(self.node.value, Value::Table(_))
    }

    /// True where the value is `false`, or says `false` or `auto`.
    pub(crate) fn is_false_or_auto(&self) -> bool {
        match &self.node.value {
            Value::Bool(on) => !on,
            Value::Text(text) => matches!(text.as_str(), "false" | "auto"),
            _ => false,
        }
    }

    /// What was written there, before any expansion; of a secret only its type.
    fn found(&self) -> String {
        match &self.node.value {
            Value::Null => "nothing".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Table(_) => "keys and values".to_owned(),
            Value::Bool(_) | Value::Whole(_) | Value::Float(_) if is_secret(&self.key) => {
                "a number or boolean".to_owned()
            }
            Value::Text(_) if is_secret(&self.key) => "a string".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Whole(value) => value.to_string(),
            Value::Float(value) => format!("{value:?}"),
            Value::Text(text) if text.chars().count() > 60 => {
                format!("{:?}…", text.chars().take(60).collect::<String>())
            }
            Value::Text(text) => format!("{text:?}"),
        }
    }

    /// The text with its references expanded; only the file's are, for the shell has expanded
    /// what comes from a flag, and a variable's value is taken as it is.
    fn expanded(&self, text: &str) -> Result<String, ConfigError> {
        if matches!(self.node.origin, Origin::File { .. }) {
            expand(text, self.variable).map_err(|error| self.error(error.message()))
        } else {
            Ok(text.to_owned())
        }
    }

    /// A string, which may be empty.
    pub(crate) fn text(&self) -> Result<String, ConfigError> {
        match &self.node.value {
            Value::Text(text) => self.expanded(text),
            Value::Bool(_) | Value::Whole(_) | Value::Float(_) => Err(self.error(format!(
                "expected a string, found {}; put it in quotes",
                self.found()
            ))),
            _ => Err(self.expected("a string")),
        }
    }

    /// A string that holds something, and no control characters.
    pub(crate) fn name(&self) -> Result<String, ConfigError> {
        let text = self.text()?;
        if text.trim().is_empty() {
            return Err(self.error("expected a string that is not empty"));
        }
        if text.chars().any(char::is_control) {
            return Err(self.error("control characters are not allowed here"));
        }
        Ok(text)
    }

    /// A string that must not be shown. White space around it does not count: no HTTP header can
    /// carry it, and a credential read from a file brings a line end along.
    pub(crate) fn secret(&self) -> Result<Secret, ConfigError> {
        let text = self.text()?;
        let text = text.trim();
        if text.is_empty() {
            return Err(self.error("is empty; leave it out to run without one"));
        }
        if text.chars().any(char::is_control) {
            return Err(self.error("holds a control character, which no HTTP header can carry"));
        }
        Ok(Secret::from(text))
    }

    pub(crate) fn flag(&self) -> Result<bool, ConfigError> {
        match &self.node.value {
            Value::Bool(on) => Ok(*on),
            Value::Text(text) => match self.expanded(text)?.trim().to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Ok(true),
                "false" | "no" | "off" | "0" => Ok(false),
                _ => Err(self.expected("true or false")),
            },
            _ => Err(self.expected("true or false")),
        }
    }

    /// A whole number within `range`, which `what` describes.
    pub(crate) fn whole(
        &self,
        range: std::ops::RangeInclusive<u64>,
        what: &str,
    ) -> Result<u64, ConfigError> {
        let value = match &self.node.value {
            Value::Whole(value) => u64::try_from(*value).ok(),
            Value::Float(value) => whole_of(*value),
            Value::Text(text) => self.expanded(text)?.trim().parse().ok(),
            _ => None,
        };
        value
            .filter(|value| range.contains(value))
            .ok_or_else(|| self.expected(what))
    }

    /// A size in bytes: a number, or a string with a unit (`64 MiB`, `2GB`).
    pub(crate) fn bytes(&self, least: u64) -> Result<u64, ConfigError> {
        let value = match &self.node.value {
            Value::Whole(value) => u64::try_from(*value).ok(),
            Value::Float(value) => whole_of(*value),
            Value::Text(text) => parse_size(self.expanded(text)?.trim()),
            _ => None,
        };
        value
            // SQLite and the file system count in signed numbers.
            .filter(|value| (least..=i64::MAX as u64).contains(value))
            .ok_or_else(|| {
                self.expected(&format!(
                    "a size of at least {least} bytes (such as 64 MiB)"
                ))
            })
    }

    /// A duration in seconds, whole or with a fraction, that is over nought.
    pub(crate) fn seconds(&self) -> Result<Duration, ConfigError> {
        let duration = self.seconds_or_none("a number of seconds over 0")?;
        if duration.is_zero() {
            return Err(self.expected("a number of seconds over 0"));
        }
        Ok(duration)
    }

    /// The same where nought has a meaning.
    pub(crate) fn seconds_from_zero(&self) -> Result<Duration, ConfigError> {
        self.seconds_or_none("a number of seconds")
    }

    fn seconds_or_none(&self, what: &str) -> Result<Duration, ConfigError> {
        let seconds = match &self.node.value {
            Value::Whole(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            Value::Text(text) => self.expanded(text)?.trim().parse().ok(),
            _ => None,
        };
        seconds
            .filter(|seconds| (0.0..=MAX_SECONDS).contains(seconds))
            .map(Duration::from_secs_f64)
            .ok_or_else(|| self.expected(what))
    }

    /// One of a few words, in any case.
    pub(crate) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, ConfigError> {
        let text = match &self.node.value {
            Value::Text(text) => self.expanded(text)?,
            _ => return Err(self.expected(&one_of(choices))),
        };
        choices
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(text.trim()))
            .map(|(_, value)| *value)
            .ok_or_else(|| self.expected(&one_of(choices)))
    }

    /// The items of a list.
    pub(crate) fn items(&self) -> Result<Vec<Field<'a>>, ConfigError> {
        let Value::List(items) = &self.node.value else {
            return Err(self.expected("a list"));
        };
        let field = |(index, node)| Field {
            node,
            key: format!("{}[{index}]", self.key),
            variable: self.variable,
        };
        Ok(items.iter().enumerate().map(field).collect())
    }

    pub(crate) fn list<T>(
        &self,
        read: impl Fn(&Field<'a>) -> Result<T, ConfigError>,
    ) -> Result<Vec<T>, ConfigError> {
        self.items()?.iter().map(read).collect()
    }

    /// One value, or a list of them.
    pub(crate) fn one_or_many<T>(
        &self,
        read: impl Fn(&Field<'a>) -> Result<T, ConfigError>,
    ) -> Result<Vec<T>, ConfigError> {
        match self.node.value {
            Value::List(_) => self.list(read),
            _ => Ok(vec![read(self)?]),
        }
    }

    pub(crate) fn table(&self) -> Result<Table<'a>, ConfigError> {
        match &self.node.value {
            Value::Table(entries) => Table::new(
                self.key.clone(),
                entries,
                self.node.origin.clone(),
                self.variable,
            ),
            _ => Err(self.expected("keys and values")),
        }
    }

    /// A value of the operator's own, of any shape, as JSON.
    pub(crate) fn json(&self) -> Result<serde_json::Value, ConfigError> {
        Ok(match &self.node.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Whole(value) => {
                let number = i64::try_from(*value)
                    .map(serde_json::Number::from)
                    .or_else(|_| u64::try_from(*value).map(serde_json::Number::from))
                    .map_err(|_| self.expected("a number within 64 bits"))?;
                serde_json::Value::Number(number)
            }
            Value::Float(value) => serde_json::Number::from_f64(*value)
                .map(serde_json::Value::Number)
                .ok_or_else(|| self.expected("a finite number"))?,
            Value::Text(text) => self.expanded(text)?.into(),
            Value::List(_) => self.list(Field::json)?.into(),
            Value::Table(_) => self
                .table()?
                .into_entries()
                .into_iter()
                .map(|(entry, field)| Ok((entry.key.clone(), field.json()?)))
                .collect::<Result<serde_json::Map<_, _>, _>>()?
                .into(),
        })
    }
}

/// Whether the values under this path of keys are secrets.
pub(crate) fn is_secret(key: &str) -> bool {
    key.contains("token") || key.contains("auth_header") || key.contains("headers.")
}

fn join(parent: &str, key: &str) -> String {
    // A key may be any text; escaped, it cannot break the one line of the error.
    let key = key.escape_debug();
    if parent.is_empty() {
        key.to_string()
    } else {
        format!("{parent}.{key}")
    }
}

fn one_of<T>(choices: &[(&str, T)]) -> String {
    let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
    match words.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// The number without a fraction that `value` is, if it is one (`1e3`).
fn whole_of(value: f64) -> Option<u64> {
    // 2^53: up to here every whole number is exact.
    (value.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&value))
        .then_some(value as u64)
}

fn parse_size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale)
}
