//! What requests are refused with: one body, and the statuses with their reasons.

use std::collections::BTreeMap;

use gateway_state::Code;
use utoipa::IntoResponses;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder, Schema};

/// What the body of every refusal is called.
const BODY: &str = "Refusal";

/// The statuses: what each answer is called, when it is given, and the header that comes with it.
const STATUSES: [(u16, &str, &str, Header); 14] = [
    (
        400,
        "BadRequest",
        "A value of the wrong type or out of range, a body that is not JSON, an id that cannot be one, malformed HTTP.",
        None,
    ),
    (
        401,
        "Unauthorized",
        "No valid token.",
        Some(("WWW-Authenticate", "`Bearer realm=\"rllm-gateway\"`.")),
    ),
    (
        403,
        "Forbidden",
        "A token without the right, a page of another origin, a public peer where no token is configured.",
        None,
    ),
    (404, "NotFound", "There is none of that id.", None),
    (
        408,
        "RequestTimeout",
        "The body did not arrive in time.",
        None,
    ),
    (
        409,
        "Conflict",
        "The request would have to guess, or contradicts what is there.",
        None,
    ),
    (
        413,
        "BodyTooLarge",
        "A body over 8 MiB, or one that the journal cannot take.",
        None,
    ),
    (414, "UriTooLong", "A target over 8 KiB.", None),
    (415, "UnsupportedEncoding", "A compressed body.", None),
    (
        417,
        "ExpectationFailed",
        "An `Expect` other than `100-continue`.",
        None,
    ),
    (
        421,
        "MisdirectedRequest",
        "A `Host` that is not the gateway's, where no token is configured.",
        None,
    ),
    (
        431,
        "HeadersTooLarge",
        "More than 100 headers, or more than 64 KiB of them.",
        None,
    ),
    (
        500,
        "InternalError",
        "A fault of the gateway's, or a flush that could not be completed.",
        None,
    ),
    (
        503,
        "Unavailable",
        "The store could not be brought up to date within 5 s, or the body had not come when the gateway was to end.",
        RETRY_AFTER,
    ),
];

/// Its name and what it says.
type Header = Option<(&'static str, &'static str)>;

const RETRY_AFTER: Header = Some(("Retry-After", "Seconds."));

/// What any request may be refused with: the door's reasons, and the gateway's own faults.
const EVERYWHERE: [u16; 8] = [400, 401, 403, 414, 417, 421, 431, 500];

/// Defines groups of refusals, to be named among the answers of a request.
macro_rules! refused {
    ($($(#[$doc:meta])* $name:ident => $($status:literal),*;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                references(&[$($status),*]).collect()
            }
        }
    )*};
}

refused! {
    /// Of a request that takes a body.
    BadBody => 408, 413, 415, 503;
    /// Of a request about one thing.
    NotThere => 404;
    /// Of a request that may contradict what is there.
    Conflict => 409;
    /// Of a request that waits for the store.
    Behind => 503;
}

fn references(statuses: &[u16]) -> impl Iterator<Item = (String, RefOr<Response>)> {
    statuses.iter().map(|status| {
        let (_, name, ..) = STATUSES
            .iter()
            .find(|(known, ..)| known == status)
            .expect("every status that is named is in the table");
        (
            status.to_string(),
            RefOr::Ref(Ref::from_response_name(*name)),
        )
    })
}

/// Adds the refusals, and to every request those that it shares with all others.
pub(super) fn add_everywhere(document: &mut OpenApi) {
    for path in document.paths.paths.values_mut() {
        let operations = [&mut path.get, &mut path.post, &mut path.delete];
        for operation in operations.into_iter().flatten() {
            add(operation);
        }
    }
    let components = document.components.get_or_insert_default();
    components.schemas.insert(BODY.to_owned(), body());
    for (_, name, when, header) in STATUSES {
        let content = Ref::from_schema_name(BODY);
        let content = ContentBuilder::new().schema(Some(content)).build();
        let mut response = ResponseBuilder::new()
            .description(when)
            .content("application/json", content);
        if let Some((name, meaning)) = header {
            let text = ObjectBuilder::new().schema_type(Type::String);
            let header = HeaderBuilder::new()
                .schema(Some(text))
                .description(Some(meaning));
            response = response.header(name, header.build());
        }
        components
            .responses
            .insert(name.to_owned(), response.into());
    }
}

fn add(operation: &mut Operation) {
    let told = std::mem::take(&mut operation.responses.responses);
    let shared = references(&EVERYWHERE).filter(|(status, _)| !told.contains_key(status));
    let shared: Vec<_> = shared.collect();
    let mut all: Vec<_> = told.into_iter().chain(shared).collect();
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    operation.responses.responses = all.into_iter().collect();
}

/// The one error shape of both planes, with all of its words.
fn body() -> RefOr<Schema> {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let one_of = |words: Vec<&'static str>| text().enum_values(Some(words));
    let mut kinds: Vec<_> = Code::ALL.map(Code::kind).to_vec();
    kinds.sort_unstable();
    kinds.dedup();
    let error = ObjectBuilder::new()
        .property("message", text().description(Some("For people.")))
        .required("message")
        .property("type", one_of(kinds))
        .required("type")
        .property("code", one_of(Code::ALL.map(Code::as_str).to_vec()))
        .required("code")
        .property("param", ObjectBuilder::new().schema_type(Type::Null))
        .required("param");
    ObjectBuilder::new()
        .description(Some(
            "The one shape of an error, which OpenAI and Anthropic clients both read.",
        ))
        .property("type", one_of(vec!["error"]))
        .required("type")
        .property("error", error)
        .required("error")
        .into()
}
