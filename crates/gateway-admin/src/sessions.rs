//! Sessions: made, updated, listed and deleted.

use axum::Json;
use axum::extract::{Path, State};
use gateway_json::Value;
use gateway_metadata::{Claims, has_dot_segment, has_v1_segment, is_dot_segment};
use gateway_state::SamplingParams;
use gateway_store::{Session, SessionList};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::Shared;
use crate::body::{Body, Object};
use crate::fields::Fields;
use crate::openapi::{
    self, AnyObject, BadBody, Behind, Conflict, NamedSession, NotThere, Scope, SessionId,
};
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

/// The same for an id of several segments that must be sent as one.
const IN_SEGMENT: &AsciiSet = &IN_PATH.add(b'/');

/// The answer to a `POST /sessions`.
#[derive(Serialize, ToSchema)]
pub(crate) struct Created {
    /// As it was chosen, or a new one.
    session_id: String,
    /// The base path that the session's agent is given.
    url: String,
}

/// What a session is created or updated with; all of it may be left out.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "handlers read a body member by member; this is its schema"
)]
pub(crate) struct NewSession {
    /// Chosen by the gateway by default. At most 512 bytes, without control characters and without
    /// a `/v1` segment, and neither `.` nor `..`.
    #[schema(
        max_length = 512,
        pattern = r"^(?!\s*\.\.?\s*$)[^\x00-\x1f\x7f-\x9f]*$"
    )]
    session_id: Option<String>,
    /// Replaces the metadata as a whole, and comes back as it was written.
    metadata: Option<AnyObject>,
    /// Replaces the sampling params as a whole: what is added to the bodies of the session's calls.
    /// They cannot set `model`, `stream` or `messages`.
    sampling_params: Option<AnyObject>,
}

/// Creates a session, or updates what of it is given.
#[utoipa::path(
    post, path = "/sessions", operation_id = "put_session", tag = "sessions",
    request_body = NewSession,
    responses(
        (status = 200, description = "It is stored.", body = Created), BadBody, Behind,
    ),
)]
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
    let url = base_path(&session_id);
    Ok(Json(Created { session_id, url }))
}

/// The path that leads to this session, whatever a client shortens: `a/../b` raw would lead to `b`.
fn base_path(session_id: &str) -> String {
    let encoded = match has_dot_segment(session_id) {
        true => IN_SEGMENT,
        false => IN_PATH,
    };
    format!("/sessions/{}/v1", utf8_percent_encode(session_id, encoded))
}

/// The id that the request chose, checked as one that names a session on every plane, or a new one.
fn chosen_id(object: Object<'_>) -> Result<String, Refusal> {
    let text = object.text("session_id")?.unwrap_or_default();
    match Claims::session(&text).identity()?.session_id {
        Some(id) if has_v1_segment(&id) => Err(Refusal::field(
            "session_id",
            "must not hold a /v1 segment: in a path the id would end there",
        )),
        Some(id) if is_dot_segment(&id) => Err(Refusal::field(
            "session_id",
            "must not be `.` or `..`: in a URL clients take it for a way, encoded or not",
        )),
        Some(id) => Ok(id),
        None => Ok(Uuid::now_v7().to_string()),
    }
}

/// The sessions that a body names, each id read as the one that a session is made with.
pub(crate) fn named_sessions(object: Object<'_>) -> Result<Option<Vec<String>>, Refusal> {
    const NAME: &str = "session_ids";
    let Some(texts) = object.texts(NAME)? else {
        return Ok(None);
    };
    let ids = texts.iter().map(|text| {
        let named = Claims::session(text).identity()?.session_id;
        named.ok_or_else(|| Refusal::field(NAME, "must not hold an empty id: it names no session"))
    });
    ids.collect::<Result<_, _>>().map(Some)
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

/// What narrows the list of sessions.
pub(crate) struct SessionRows;

impl IntoParams for SessionRows {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![
            openapi::number("since", "Only sessions created at this time or later."),
            openapi::count("limit", "At most so many."),
        ]
    }
}

/// Lists the sessions, newest first: one row for each session and run.
#[utoipa::path(
    get, path = "/sessions", operation_id = "list_sessions", tag = "sessions",
    params(SessionRows, Scope),
    responses((status = 200, description = "The rows.", body = Vec<Session>), Behind),
)]
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

/// Tells of one session; over several runs its rows are added up, and `run_id` is null.
#[utoipa::path(
    get, path = "/sessions/{session_id}", operation_id = "session", tag = "sessions",
    params(SessionId, Scope),
    responses((status = 200, description = "The session.", body = Session), NotThere, Behind),
)]
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
#[derive(Serialize, ToSchema)]
pub(crate) struct Deleted {
    /// Calls that are still under way leave no trace, and do not count.
    deleted: u64,
}

/// Deletes a session and its traces within the runs that are meant. One that is not known is no
/// error.
///
/// Where no run is named, the gateway has none of its own, and the session is in several, it is not
/// guessed: 409.
#[utoipa::path(
    delete, path = "/sessions/{session_id}", operation_id = "delete_session", tag = "sessions",
    params(SessionId, Scope),
    responses((status = 200, description = "It is gone.", body = Deleted), Conflict, Behind),
)]
pub(crate) async fn delete(
    State(shared): State<Shared>,
    Path(session_id): Path<String>,
    query: Query,
) -> Result<Json<Deleted>, Refusal> {
    let runs = Runs::read(&query, shared.own_run().as_deref())?;
    let deleted = shared.delete_sessions(vec![session_id], runs).await?;
    Ok(Json(Deleted { deleted }))
}

/// How many sessions one request deletes: as many as the store is through with in good time, as
/// what comes after waits for it.
const MAX_DOOMED: usize = 100_000;

/// Which sessions to delete.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "handlers read a body member by member; this is its schema"
)]
pub(crate) struct DoomedSessions {
    #[schema(max_items = 100_000)]
    session_ids: Vec<NamedSession>,
    /// As the parameter, which wins.
    run_id: Option<String>,
}

/// Deletes many sessions at the price of one: all of them, or none where the run of one would have
/// to be guessed.
#[utoipa::path(
    post, path = "/sessions/batch_delete", operation_id = "delete_sessions", tag = "sessions",
    params(Scope),
    request_body = DoomedSessions,
    responses(
        (status = 200, description = "They are gone.", body = Deleted),
        Conflict, BadBody, Behind,
    ),
)]
pub(crate) async fn batch_delete(
    State(shared): State<Shared>,
    query: Query,
    body: Body,
) -> Result<Json<Deleted>, Refusal> {
    let object = body.object()?;
    let own = object.text("run_id")?.or(shared.own_run());
    let runs = Runs::read(&query, own.as_deref())?;
    let session_ids = named_sessions(object)?
        .ok_or_else(|| Refusal::field("session_ids", "is needed: an array of strings"))?;
    if session_ids.len() > MAX_DOOMED {
        let problem = format!("must hold at most {MAX_DOOMED} ids");
        return Err(Refusal::field("session_ids", problem));
    }
    let deleted = shared.delete_sessions(session_ids, runs).await?;
    Ok(Json(Deleted { deleted }))
}
