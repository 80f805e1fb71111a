//! The merged identity, and what makes a value of it unusable.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest value of an identity field, in bytes of UTF-8.
pub const MAX_VALUE_BYTES: usize = 512;

/// Whose call it is. An absent field is `None`; a present string is trimmed and not empty, where
/// it comes from [`merge`](crate::merge).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Identity {
    /// The session (one rollout, one conversation) that the call is a turn of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The run (one training job, one evaluation) that the session belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The agent program that makes the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub harness: Option<String>,
    /// The step within the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_id: Option<i64>,
    /// The span that the call is nested in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_span_id: Option<String>,
    /// The project that the call is accounted to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The experiment within the project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experiment: Option<String>,
}

impl Identity {
    /// Checks every field, in the order of the struct.
    ///
    /// # Errors
    ///
    /// The first field over [`MAX_VALUE_BYTES`] or with a control character: the caller's error
    /// (HTTP 400 `bad_identity`), because recording the call under another name would be worse.
    pub fn check(&self) -> Result<(), IdentityError> {
        let texts = [
            (Field::SessionId, &self.session_id),
            (Field::RunId, &self.run_id),
            (Field::Harness, &self.harness),
            (Field::ParentSpanId, &self.parent_span_id),
            (Field::Project, &self.project),
            (Field::Experiment, &self.experiment),
        ];
        texts
            .into_iter()
            .try_for_each(|(field, text)| text.as_deref().map_or(Ok(()), |text| field.check(text)))
    }
}

/// A field of an [`Identity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// [`Identity::session_id`]
    SessionId,
    /// [`Identity::run_id`]
    RunId,
    /// [`Identity::harness`]
    Harness,
    /// [`Identity::step_id`]
    StepId,
    /// [`Identity::parent_span_id`]
    ParentSpanId,
    /// [`Identity::project`]
    Project,
    /// [`Identity::experiment`]
    Experiment,
}

impl Field {
    pub(crate) const ALL: [Self; 7] = [
        Self::SessionId,
        Self::RunId,
        Self::Harness,
        Self::StepId,
        Self::ParentSpanId,
        Self::Project,
        Self::Experiment,
    ];

    /// The field's name, which is also its key in a body's `rllm` object.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SessionId => "session_id",
            Self::RunId => "run_id",
            Self::Harness => "harness",
            Self::StepId => "step_id",
            Self::ParentSpanId => "parent_span_id",
            Self::Project => "project",
            Self::Experiment => "experiment",
        }
    }

    /// The field's header, in lower case.
    #[must_use]
    pub fn header(self) -> &'static str {
        match self {
            Self::SessionId => "x-rllm-session-id",
            Self::RunId => "x-rllm-run-id",
            Self::Harness => "x-rllm-harness",
            Self::StepId => "x-rllm-step-id",
            Self::ParentSpanId => "x-rllm-parent-span-id",
            Self::Project => "x-rllm-project",
            Self::Experiment => "x-rllm-experiment",
        }
    }

    /// Checks a (trimmed) value for this field, wherever it came from.
    ///
    /// # Errors
    ///
    /// As for [`Identity::check`].
    pub fn check(self, value: &str) -> Result<(), IdentityError> {
        let problem = if value.len() > MAX_VALUE_BYTES {
            Problem::TooLong
        } else if value.chars().any(char::is_control) {
            Problem::Control
        } else {
            return Ok(());
        };
        Err(IdentityError {
            field: self,
            problem,
        })
    }
}

/// An identity value that would be recorded, but cannot be: the caller's error, HTTP 400
/// `bad_identity`. `Display` names the field and never shows the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", field.name())]
pub struct IdentityError {
    /// The field whose value it is.
    pub field: Field,
    /// What is wrong with the value.
    pub problem: Problem,
}

/// What makes an identity value unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// Over [`MAX_VALUE_BYTES`].
    TooLong,
    /// A control character: C0, DEL or C1.
    Control,
    /// A path that does not decode to UTF-8, or a lone surrogate in a body's string.
    NotUnicode,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(
                f,
                "the value is longer than {MAX_VALUE_BYTES} bytes of UTF-8"
            ),
            Self::Control => f.write_str("the value holds a control character"),
            Self::NotUnicode => f.write_str("the value is not valid Unicode"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Field, Identity, Problem};

    fn check(value: &str, expected: Option<Problem>) {
        for field in Field::ALL {
            let result = field.check(value);
            assert_eq!(
                result.err().map(|error| error.problem),
                expected,
                "{value:?}"
            );
        }
    }

    #[test]
    fn values() {
        check("django__django-1234:3", None);
        check("a/../b'; DROP TABLE x; -- 🦀\u{a0}\u{2028}\u{ad}", None);
        check(&"x".repeat(512), None);
        check(&"x".repeat(513), Some(Problem::TooLong));
        // Bytes count, not characters.
        check(&"é".repeat(256), None);
        check(&"é".repeat(257), Some(Problem::TooLong));
        for control in [
            '\0', '\t', '\n', '\r', '\u{1f}', '\u{7f}', '\u{80}', '\u{9f}',
        ] {
            check(&format!("a{control}b"), Some(Problem::Control));
        }
    }

    #[test]
    fn the_error_names_the_field_and_hides_the_value() {
        let identity = Identity {
            session_id: Some("fine".to_owned()),
            project: Some("secret\u{7}".to_owned()),
            ..Identity::default()
        };
        let error = identity.check().unwrap_err();
        assert_eq!(error.field, Field::Project);
        assert_eq!(
            error.to_string(),
            "project: the value holds a control character"
        );
    }

    #[test]
    fn serialised_without_what_is_absent_and_read_with_what_is_new() {
        let identity = Identity {
            session_id: Some("s".to_owned()),
            step_id: Some(-3),
            ..Identity::default()
        };
        let json = serde_json::to_string(&identity).unwrap();
        assert_eq!(json, r#"{"session_id":"s","step_id":-3}"#);
        let newer = r#"{"session_id":"s","step_id":-3,"colour":"red"}"#;
        assert_eq!(serde_json::from_str::<Identity>(newer).unwrap(), identity);
    }
}
