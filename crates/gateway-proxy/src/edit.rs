//! What goes upstream instead of the client's own members: the named edits, in their order.
//!
//! Model pin, session sampling params, capture injection, the route's model, its dropped params,
//! removal of rLLM keys. The edits are settled name by name first, so that a later one sees what
//! an earlier one did, and then spliced into the client's bytes in one go.

use std::borrow::Cow;

use bytes::Bytes;
use gateway_json::{Edits, Value, quote};
use gateway_metadata::{STRIPPED_MEMBERS, strip_member, strip_members};
use gateway_state::SamplingParams;
use gateway_trace::{Endpoint, Json, choices_asked};

use crate::strip::{Asked, within};

/// What there is to do to one request. Everything but `endpoint` and `stream` may be empty.
#[derive(Debug, Default)]
pub(crate) struct Wishes<'a> {
    pub(crate) endpoint: Option<Endpoint>,
    /// Whether the client asked for a stream.
    pub(crate) stream: bool,
    /// Whether the model is pinned, and to what (also on `messages/count_tokens`).
    pub(crate) model_pin: Option<&'a str>,
    pub(crate) session_params: Option<&'a SamplingParams>,
    /// Whether they outrank the client's own.
    pub(crate) session_first: bool,
    /// Which capture flags to inject; `None` where the upstream gets none.
    pub(crate) capture: Option<Capture>,
    pub(crate) upstream_model: Option<&'a str>,
    pub(crate) drop_params: &'a [String],
}

/// The capture flags that are switched on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capture {
    pub(crate) logprobs: bool,
    pub(crate) token_ids: bool,
    pub(crate) usage: bool,
}

/// A request as it goes upstream.
#[derive(Debug)]
pub(crate) struct Edited {
    pub(crate) body: Bytes,
    /// The trace's `edits`: what was sent instead of the client's own.
    pub(crate) edits: Option<Json>,
    pub(crate) asked: Asked,
    /// Whether token ids were asked for, by whomever.
    pub(crate) ids_asked: bool,
    /// How many choices were.
    pub(crate) choices: usize,
}

/// A top-level key that the gateway reads or edits stands twice: it cannot tell which one counts.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key {key:?} is given twice, the second time at byte {offset}")]
pub(crate) struct RepeatedKey {
    pub(crate) key: String,
    pub(crate) offset: usize,
}

/// What is read of a request whose reply is captured and stripped.
const CAPTURE_KEYS: [&str; 8] = [
    "logprobs",
    "return_token_ids",
    "stream_options",
    "echo",
    "stop",
    "stop_token_ids",
    "prompt_logprobs",
    "kv_transfer_params",
];

/// Applies `wishes` to `body`, whose parsed root is `root`.
///
/// # Errors
/// [`RepeatedKey`] if a key that is read or edited for this call stands twice.
pub(crate) fn edit(
    body: &Bytes,
    root: Value<'_>,
    wishes: &Wishes<'_>,
) -> Result<Edited, RepeatedKey> {
    let mut plan = Plan {
        root,
        members: Vec::new(),
    };
    if let Some(model) = wishes.model_pin {
        plan.set_model(model);
    }
    plan.session_params(wishes);
    let mut asked = plan.asked();
    plan.inject(wishes, &mut asked);
    if let Some(model) = wishes.upstream_model {
        plan.set_model(model);
    }
    for name in wishes.drop_params {
        plan.drop(name);
    }
    plan.strip_rllm();
    for member in &plan.members {
        no_repeat(body, root, &member.name)?;
    }
    if wishes.capture.is_some() {
        for name in CAPTURE_KEYS {
            no_repeat(body, root, name)?;
        }
    }
    Ok(Edited {
        body: plan.splice(body),
        edits: plan.told(),
        asked,
        ids_asked: plan.is_truthy("return_token_ids"),
        choices: plan.choices(wishes.endpoint),
    })
}

/// Refuses a top-level key that stands twice; names are compared unescaped.
///
/// # Errors
/// [`RepeatedKey`], with the place of the second one.
pub(crate) fn no_repeat(body: &[u8], root: Value<'_>, name: &str) -> Result<(), RepeatedKey> {
    let mut members = root.members().filter(|member| member.key.is(name));
    members.next();
    members.next().map_or(Ok(()), |member| {
        let place = member.key.literal().as_ptr() as usize;
        Err(RepeatedKey {
            key: name.to_owned(),
            offset: place.saturating_sub(body.as_ptr() as usize),
        })
    })
}

/// Whether Python would take the value for true: what clients and servers of these APIs go by.
pub(crate) fn truthy(value: Value<'_>) -> bool {
    match value.text() {
        "false" | "null" | "\"\"" => false,
        _ if value.is_array() => value.elements().next().is_some(),
        _ if value.is_object() => value.members().next().is_some(),
        _ => value.as_f64() != Some(0.0),
    }
}

struct Plan<'a> {
    root: Value<'a>,
    members: Vec<Planned>,
}

struct Planned {
    name: String,
    /// `None`: it is removed.
    text: Option<String>,
    /// Injected for the recorder: the trace does not tell of it.
    silent: bool,
}

impl Plan<'_> {
    fn set(&mut self, name: &str, text: String, silent: bool) {
        match self.members.iter_mut().find(|member| member.name == name) {
            Some(member) => {
                member.text = Some(text);
                member.silent = silent;
            }
            None => self.members.push(Planned {
                name: name.to_owned(),
                text: Some(text),
                silent,
            }),
        }
    }

    fn drop(&mut self, name: &str) {
        self.members.retain(|member| member.name != name);
        if self.root.get(name).is_some() {
            self.members.push(Planned {
                name: name.to_owned(),
                text: None,
                silent: false,
            });
        }
    }

    /// The member as it stands after the edits so far.
    fn now(&self, name: &str) -> Option<Cow<'_, str>> {
        match self.members.iter().find(|member| member.name == name) {
            Some(member) => member.text.as_deref().map(Cow::Borrowed),
            None => self.root.get(name).map(|value| Cow::Borrowed(value.text())),
        }
    }

    fn choices(&self, endpoint: Option<Endpoint>) -> usize {
        let Some(endpoint) = endpoint else {
            return 1;
        };
        let n = self.now("n").unwrap_or(Cow::Borrowed("null"));
        with(&n, |n| {
            choices_asked(endpoint, Some(n), self.root.get("prompt"))
        })
    }

    fn is_truthy(&self, name: &str) -> bool {
        self.now(name).is_some_and(|text| with(&text, truthy))
    }

    fn set_model(&mut self, model: &str) {
        let same = self
            .now("model")
            .is_some_and(|now| with(&now, |now| now.as_str().is_some_and(|now| now == model)));
        if !same {
            self.set("model", quote(model), false);
        }
    }

    fn session_params(&mut self, wishes: &Wishes<'_>) {
        if wishes.endpoint.is_none_or(|it| it == Endpoint::Embeddings) {
            return;
        }
        let params = wishes.session_params.into_iter();
        for (name, text) in params.flat_map(SamplingParams::iter) {
            let own = self.now(name);
            if own.is_none() || (wishes.session_first && own.as_deref() != Some(text)) {
                self.set(name, text.to_owned(), false);
            }
        }
    }

    /// Truthy, or a number: where 0 asks for the tokens' own logprobs.
    fn is_truthy_or_zero(&self, name: &str) -> bool {
        self.now(name)
            .is_some_and(|text| with(&text, |value| truthy(value) || value.as_f64().is_some()))
    }

    fn asked(&self) -> Asked {
        Asked {
            token_ids: self.is_truthy("return_token_ids"),
            prompt_logprobs: self.is_truthy_or_zero("prompt_logprobs"),
            kv_transfer_params: self.is_truthy("kv_transfer_params"),
            stop: self.is_truthy("stop") || self.is_truthy("stop_token_ids"),
            injected_logprobs: false,
            injected_usage: false,
        }
    }

    fn inject(&mut self, wishes: &Wishes<'_>, asked: &mut Asked) {
        let Some(capture) = wishes.capture else {
            return;
        };
        let (flag, wanted) = match wishes.endpoint {
            Some(Endpoint::ChatCompletions) => ("true", self.is_truthy("logprobs")),
            Some(Endpoint::Completions) => ("1", self.is_truthy_or_zero("logprobs")),
            _ => return,
        };
        if capture.logprobs && !wanted && !self.is_truthy("echo") {
            self.set("logprobs", flag.to_owned(), true);
            asked.injected_logprobs = true;
        }
        if capture.token_ids && !asked.token_ids {
            self.set("return_token_ids", "true".to_owned(), true);
        }
        if capture.usage && wishes.stream {
            self.inject_usage(asked);
        }
    }

    fn inject_usage(&mut self, asked: &mut Asked) {
        let own = self.now("stream_options").unwrap_or(Cow::Borrowed("null"));
        let options = with(&own, |options| {
            if options.get("include_usage").is_some_and(truthy) {
                return None;
            }
            if options.is_object() {
                let mut edits = Edits::new(options);
                edits.set(options, "include_usage", "true");
                return edits.apply();
            }
            // Anything but null is a mistake that the upstream shall tell the client of.
            options
                .is_null()
                .then(|| r#"{"include_usage":true}"#.to_owned())
        });
        if let Some(options) = options {
            self.set("stream_options", options, true);
            asked.injected_usage = true;
        }
    }

    /// Takes rLLM's keys out of what is planned; the client's own are cut in [`Self::splice`].
    fn strip_rllm(&mut self) {
        let ours = |member: &&mut Planned| STRIPPED_MEMBERS.contains(&&*member.name);
        for member in self.members.iter_mut().filter(ours) {
            if let Some(text) = &member.text {
                member.text = with(text, |value| {
                    strip_member(&member.name, value).map(Cow::into_owned)
                });
            }
        }
    }

    /// What the trace tells of these edits: where they differ from the client's own, which counts
    /// without rLLM's keys.
    fn told(&self) -> Option<Json> {
        let own = |name: &str| {
            let own = self.root.get(name);
            own.and_then(|own| strip_member(name, own))
        };
        let told: Vec<&Planned> = self
            .members
            .iter()
            .filter(|member| {
                !member.silent && own(&member.name).as_deref() != member.text.as_deref()
            })
            .collect();
        if told.is_empty() {
            return None;
        }
        let set: Vec<String> = told
            .iter()
            .filter_map(|member| Some(format!("{}:{}", quote(&member.name), member.text.as_ref()?)))
            .collect();
        let removed: Vec<String> = told
            .iter()
            .filter(|member| member.text.is_none())
            .map(|member| quote(&member.name))
            .collect();
        let text = format!(
            r#"{{"set":{{{}}},"removed":[{}]}}"#,
            set.join(","),
            removed.join(",")
        );
        Json::new(&text).ok()
    }

    fn splice(&self, body: &Bytes) -> Bytes {
        let mut edits = Edits::new(self.root);
        for member in &self.members {
            match &member.text {
                Some(text) => edits.set(self.root, &member.name, text),
                None => edits.remove(self.root, |own| own.key.is(&member.name)),
            }
        }
        strip_members(&mut edits, self.root, |own| {
            !self.members.iter().any(|member| own.key.is(&member.name))
        });
        match edits.apply() {
            Some(edited) => within(body, self.root, &edited).into(),
            None => body.clone(),
        }
    }
}

/// Reads `text`, which is known to be JSON, as a value.
fn with<T: Default>(text: &str, read: impl FnOnce(Value<'_>) -> T) -> T {
    gateway_json::parse(text.as_bytes(), gateway_json::Dialect::Strict)
        .map(read)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
