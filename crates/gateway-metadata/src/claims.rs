//! What one source says of a call's identity, before it is known which values win.

use gateway_json::{Kind, Value};

use crate::headers::header_text;
use crate::identity::{Field, Identity, IdentityError, Problem};

/// What one source says of a call's identity, or several merged with [`Claims::or`].
///
/// Reading a source never fails: a value that is no use (blank, of a wrong type, a step that is no
/// integer) is absent, and one that would be an error if it won is carried along until
/// [`Claims::identity`] decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    session_id: Option<Text>,
    run_id: Option<Text>,
    harness: Option<Text>,
    step_id: Option<i64>,
    parent_span_id: Option<Text>,
    project: Option<Text>,
    experiment: Option<Text>,
}

/// A trimmed value that is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Text {
    Unicode(String),
    /// Something was said, but no `String` can hold it.
    NotUnicode,
}

impl Claims {
    /// Reads the `x-rllm-*` headers (names in any case, exactly so spelt: `X_RLLM_Session_Id` is
    /// not ours). Of a header that repeats, the last value that is not blank counts. Bytes that
    /// are not UTF-8 are read as Latin-1.
    #[must_use]
    pub fn from_headers<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut claims = Self::default();
        for (name, value) in headers {
            let Some(field) = field_of_header(name) else {
                continue;
            };
            let text = header_text(value);
            if !text.is_empty() {
                claims.claim(field, Some(&text));
            }
        }
        claims
    }

    /// Reads the object `metadata.rllm` of a body or, only where that is not an object, the
    /// top-level object `rllm`. Of a repeated key the last one counts. A value may be a string or
    /// a number (which becomes its JSON text); anything else is absent.
    #[must_use]
    pub fn from_body(root: Value<'_>) -> Self {
        let (mut metadata, mut top_level) = (None, None);
        for member in root.members() {
            if member.key.is("metadata") {
                metadata = Some(member.value);
            } else if member.key.is("rllm") {
                top_level = Some(member.value);
            }
        }
        let object = metadata
            .and_then(|metadata| metadata.get("rllm"))
            .filter(|rllm| rllm.is_object())
            .or(top_level);

        let mut claims = Self::default();
        for member in object.into_iter().flat_map(Value::members) {
            let named = Field::ALL
                .into_iter()
                .find(|field| member.key.is(field.name()));
            let Some(field) = named else {
                continue;
            };
            match (field, member.value.kind()) {
                (Field::StepId, Kind::Number) => claims.step_id = member.value.as_integral(),
                (_, Kind::Number) => claims.claim(field, Some(member.value.text())),
                (_, Kind::String) => claims.claim(field, member.value.as_str().as_deref()),
                (_, _) => claims.clear(field),
            }
        }
        claims
    }

    /// A source that names a session alone.
    #[must_use]
    pub fn session(session_id: &str) -> Self {
        let mut claims = Self::default();
        claims.claim(Field::SessionId, Some(session_id));
        claims
    }

    /// A source that names a run alone.
    #[must_use]
    pub fn run(run_id: &str) -> Self {
        let mut claims = Self::default();
        claims.claim(Field::RunId, Some(run_id));
        claims
    }

    /// A source whose session id cannot be read.
    pub(crate) fn unreadable_session() -> Self {
        let mut claims = Self::default();
        claims.claim(Field::SessionId, None);
        claims
    }

    /// These claims, completed field by field from a source of lower precedence.
    #[must_use]
    pub fn or(self, lower: Self) -> Self {
        Self {
            session_id: self.session_id.or(lower.session_id),
            run_id: self.run_id.or(lower.run_id),
            harness: self.harness.or(lower.harness),
            step_id: self.step_id.or(lower.step_id),
            parent_span_id: self.parent_span_id.or(lower.parent_span_id),
            project: self.project.or(lower.project),
            experiment: self.experiment.or(lower.experiment),
        }
    }

    /// The identity that these claims, all of which have won by now, make.
    ///
    /// # Errors
    ///
    /// A value that is too long, holds a control character or is not Unicode: the caller's error,
    /// HTTP 400 `bad_identity`.
    pub fn identity(self) -> Result<Identity, IdentityError> {
        let identity = Identity {
            session_id: usable(Field::SessionId, self.session_id)?,
            run_id: usable(Field::RunId, self.run_id)?,
            harness: usable(Field::Harness, self.harness)?,
            step_id: self.step_id,
            parent_span_id: usable(Field::ParentSpanId, self.parent_span_id)?,
            project: usable(Field::Project, self.project)?,
            experiment: usable(Field::Experiment, self.experiment)?,
        };
        identity.check()?;
        Ok(identity)
    }

    /// Sets a field to `text` (`None`: text that is not Unicode), which replaces what was there
    /// even where it makes the field absent.
    fn claim(&mut self, field: Field, text: Option<&str>) {
        let claim = match text.map(str::trim) {
            Some("") => None,
            Some(trimmed) => Some(Text::Unicode(trimmed.to_owned())),
            None => Some(Text::NotUnicode),
        };
        match self.text_of(field) {
            Some(slot) => *slot = claim,
            None => {
                self.step_id = match claim {
                    // `i64::from_str` takes exactly an optional sign and ASCII digits.
                    Some(Text::Unicode(text)) => text.parse().ok(),
                    Some(Text::NotUnicode) | None => None,
                }
            }
        }
    }

    fn clear(&mut self, field: Field) {
        self.claim(field, Some(""));
    }

    /// The slot of a field that is text; none for `step_id`.
    fn text_of(&mut self, field: Field) -> Option<&mut Option<Text>> {
        match field {
            Field::SessionId => Some(&mut self.session_id),
            Field::RunId => Some(&mut self.run_id),
            Field::Harness => Some(&mut self.harness),
            Field::StepId => None,
            Field::ParentSpanId => Some(&mut self.parent_span_id),
            Field::Project => Some(&mut self.project),
            Field::Experiment => Some(&mut self.experiment),
        }
    }
}

fn field_of_header(name: &str) -> Option<Field> {
    Field::ALL
        .into_iter()
        .find(|field| name.eq_ignore_ascii_case(field.header()))
}

fn usable(field: Field, claim: Option<Text>) -> Result<Option<String>, IdentityError> {
    match claim {
        Some(Text::Unicode(text)) => Ok(Some(text)),
        Some(Text::NotUnicode) => Err(IdentityError {
            field,
            problem: Problem::NotUnicode,
        }),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests;
