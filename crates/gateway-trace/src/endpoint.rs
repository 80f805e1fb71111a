//! The endpoints whose calls are recorded.

use serde::{Deserialize, Serialize};

/// An API endpoint whose calls leave a trace. Each has a [dialect](crate#dialects) of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Endpoint {
    /// OpenAI chat completions.
    #[serde(rename = "chat/completions")]
    ChatCompletions,
    /// OpenAI completions.
    #[serde(rename = "completions")]
    Completions,
    /// OpenAI responses.
    #[serde(rename = "responses")]
    Responses,
    /// Anthropic messages.
    #[serde(rename = "messages")]
    Messages,
    /// OpenAI embeddings.
    #[serde(rename = "embeddings")]
    Embeddings,
}

impl Endpoint {
    /// Every endpoint.
    pub const ALL: [Self; 5] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Responses,
        Self::Messages,
        Self::Embeddings,
    ];

    /// The endpoint at this path, which stands after `/v1/` and must be normalised already
    /// (decoded, without doubled or trailing slashes).
    #[must_use]
    pub fn from_path(path: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|endpoint| endpoint.as_str() == path)
    }

    /// The path after `/v1/`, as traces name the endpoint.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat/completions",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::Embeddings => "embeddings",
        }
    }

    /// The kind of span that a call to this endpoint makes.
    #[must_use]
    pub fn span_type(self) -> SpanType {
        match self {
            Self::Embeddings => SpanType::Embedding,
            _ => SpanType::Llm,
        }
    }
}

/// What kind of work a trace is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SpanType {
    /// A model that writes.
    #[serde(rename = "llm.call")]
    Llm,
    /// An embedding.
    #[serde(rename = "llm.embedding")]
    Embedding,
}

impl SpanType {
    /// The name in traces.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Llm => "llm.call",
            Self::Embedding => "llm.embedding",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Endpoint;

    #[test]
    fn names_and_paths_are_the_same() {
        for endpoint in Endpoint::ALL {
            assert_eq!(Endpoint::from_path(endpoint.as_str()), Some(endpoint));
            let json = serde_json::to_string(&endpoint).unwrap();
            assert_eq!(json, format!("\"{}\"", endpoint.as_str()));
        }
        for other in [
            "models",
            "messages/count_tokens",
            "chat/completions/",
            "",
            "/completions",
        ] {
            assert_eq!(Endpoint::from_path(other), None);
        }
    }
}
