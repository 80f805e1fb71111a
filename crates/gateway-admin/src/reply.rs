//! Replies that are JSON already.

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use serde::Serialize;

/// A JSON text as a reply. Listings become text where the store is read, off the runtime's thread.
#[derive(Debug)]
pub(crate) struct JsonText(pub(crate) String);

impl JsonText {
    /// The JSON form of a value whose members all have string keys.
    pub(crate) fn of(value: &impl Serialize) -> Self {
        Self(serde_json::to_string(value).expect("string keys always have a JSON form"))
    }
}

impl IntoResponse for JsonText {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, "application/json")], self.0).into_response()
    }
}
