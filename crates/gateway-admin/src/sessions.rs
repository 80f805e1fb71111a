//! Sessions: made, updated, listed and deleted.

use axum::Json;
use axum::extract::{Path, State};
use gateway_json::Value;
use gateway_metadata::{Claims, has_v1_segment};
use gateway_state::SamplingParams;
use gateway_store::SessionList;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;
use uuid::Uuid;

use crate::Shared;
use crate::body::{Body, Object};
use crate::fields::Fields;
use crate::query::Query;
use crate::refusal::Refusal;
use crate::reply::JsonText;
use crate::scope::Runs;
use crate::shared::PutSession;

/// What a path cannot hold as it is (beyond ASCII is encoded anyway). `/` and `:` can: they are
/// ordinary in ids, and a URL that shows them as they are is easier to read.
const IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The answer to a `POST /sessions`.
#[derive(Serialize)]
pub(crate) struct Created {
    session_id: String,
    /// The base path that the session's agent is given.
    url: String,
}

/// `POST /sessions`: creates a session, or updates what of it is given.
pub(crate) async fn create(
    State(shared): State<Shared>,
    body: Body,
) -> Result<Json<Created>, Refusal> {
    let object = body.object()?;
    let put = PutSession {
        session_id: chosen_id(object)?,
        metadata: object.object("metadata")?.map(stored),
        sampling_params: sampling_params(object)?,
    };
    let session_id = put.session_id.clone();
    shared.put_session(put).await?;
    let url = format!("/sessions/{}/v1", utf8_percent_encode(&session_id, IN_PATH));
    Ok(Json(Created { session_id, url }))
}

/// The id that the request chose, checked as one that names a session on every plane, or a new one.
fn chosen_id(object: Object<'_>) -> Result<String, Refusal> {
    let text = object.text("session_id")?.unwrap_or_default();
    match Claims::session(&text).identity()?.session_id {
        Some(id) if has_v1_segment(&id) => Err(Refusal::field(
            "session_id",
            "must not hold a /v1 segment: in a path the id would end there",
        )),
        Some(id) => Ok(id),
        None => Ok(Uuid::now_v7().to_string()),
    }
}

/// The sampling params twice: as they are stored, and as the calls of the session take them.
fn sampling_params(
    object: Object<'_>,
) -> Result<Option<(gateway_store::Json, SamplingParams)>, Refusal> {
    const NAME: &str = "sampling_params";
    let Some(params) = object.object(NAME)? else {
        return Ok(None);
    };
    let members = params.members();
    let members = members.map(|member| {
        (
            member.key.to_cow().into_owned(),
            member.value.text().to_owned(),
        )
    });
    let for_calls = SamplingParams::new(members)
        .map_err(|refused| Refusal::field(NAME, format!("must not set `{}`", refused.0)))?;
    Ok(Some((stored(params), for_calls)))
}

/// A value as the store keeps it: as it was written.
fn stored(value: Value<'_>) -> gateway_store::Json {
    gateway_store::Json::new(value.text()).expect("a value of a parsed text is JSON")
}

/// `GET /sessions`: one row for each session and run, newest first.
pub(crate) async fn list(State(shared): State<Shared>, query: Query) -> Result<JsonText, Refusal> {
    let list = SessionList {
        since: query.number("since")?,
        limit: query.count("limit")?,
        run_id: Runs::read(&query, shared.own_run().as_deref())?.one(),
    };
    shared
        .read(move |store| Ok(JsonText::of(&store.sessions(&list)?)))
        .await
}

/// `GET /sessions/{session_id}`: its rows within the scope, added up.
pub(crate) async fn one(
    State(shared): State<Shared>,
    Path(session_id): Path<String>,
    query: Query,
) -> Result<JsonText, Refusal> {
    let scope = Runs::read(&query, shared.own_run().as_deref())?.scope();
    let unknown = Refusal::unknown("session", &session_id);
    let found = shared.read(move |store| {
        Ok(store
            .session(&session_id, &scope)?
            .map(|row| JsonText::of(&row)))
    });
    found.await?.ok_or(unknown)
}

/// How many stored traces were deleted.
#[derive(Serialize)]
pub(crate) struct Deleted {
    deleted: u64,
}

/// `DELETE /sessions/{session_id}`: also of one that is not known, which deletes nothing.
pub(crate) async fn delete(
    State(shared): State<Shared>,
    Path(session_id): Path<String>,
    query: Query,
) -> Result<Json<Deleted>, Refusal> {
    let runs = Runs::read(&query, shared.own_run().as_deref())?;
    let deleted = shared.delete_sessions(vec![session_id], runs).await?;
    Ok(Json(Deleted { deleted }))
}

/// `POST /sessions/batch_delete`: all of them, or none where one would have to be guessed.
pub(crate) async fn batch_delete(
    State(shared): State<Shared>,
    query: Query,
    body: Body,
) -> Result<Json<Deleted>, Refusal> {
    let object = body.object()?;
    let own = object.text("run_id")?.or(shared.own_run());
    let runs = Runs::read(&query, own.as_deref())?;
    let session_ids = object
        .texts("session_ids")?
        .ok_or_else(|| Refusal::field("session_ids", "is needed: an array of strings"))?;
    let deleted = shared.delete_sessions(session_ids, runs).await?;
    Ok(Json(Deleted { deleted }))
}
