//! What a worker's reply loses on its way to the client: the fields that were asked for on the
//! recorder's behalf, and vLLM's own ones that no client of the API knows.

use gateway_json::{Cuts, Member, Value};

/// Which fields go, for one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StripRules {
    root: Vec<&'static str>,
    choice: Vec<&'static str>,
    /// Whether the event that carries only usage goes: the client did not ask for it.
    usage_event: bool,
}

/// What becomes of one event of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stripped {
    /// It passes as it came.
    Unchanged,
    /// It passes with these data.
    Edited(String),
    /// It does not pass.
    Dropped,
}

/// What the client itself asked for, and what was injected for the recorder.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) token_ids: bool,
    pub(crate) prompt_logprobs: bool,
    pub(crate) kv_transfer_params: bool,
    pub(crate) stop: bool,
    pub(crate) injected_logprobs: bool,
    pub(crate) injected_usage: bool,
}

impl StripRules {
    /// The rules for a call; `strip_vllm` is the setting `strip_vllm_fields`.
    pub(crate) fn new(asked: Asked, strip_vllm: bool) -> Self {
        let mut rules = Self {
            usage_event: asked.injected_usage,
            ..Self::default()
        };
        if strip_vllm {
            rules.root = vec!["prompt_text", "ec_transfer_params", "weight_version"];
            rules.choice = vec!["routing_matrices", "routed_experts"];
            if !asked.token_ids {
                rules.root.push("prompt_token_ids");
                rules.choice.extend(["token_ids", "prompt_token_ids"]);
            }
            if !asked.prompt_logprobs {
                rules.root.push("prompt_logprobs");
                rules.choice.push("prompt_logprobs");
            }
            if !asked.kv_transfer_params {
                rules.root.push("kv_transfer_params");
            }
            if !asked.stop {
                rules.choice.push("stop_reason");
            }
        }
        if asked.injected_logprobs {
            rules.choice.push("logprobs");
        }
        rules
    }

    /// Whether these rules can change anything at all.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// A whole reply, of which `root` is the root, without what goes; `None` where nothing does.
    pub(crate) fn whole(&self, body: &[u8], root: Value<'_>) -> Option<Vec<u8>> {
        let edited = self.edit(root)?;
        Some(within(body, root, &edited))
    }

    /// What becomes of an event whose data have this root.
    pub(crate) fn event(&self, root: Value<'_>) -> Stripped {
        if self.usage_event && is_usage_only(root) {
            return Stripped::Dropped;
        }
        match self.edit(root) {
            Some(edited) => Stripped::Edited(edited),
            None => Stripped::Unchanged,
        }
    }

    fn edit(&self, root: Value<'_>) -> Option<String> {
        let mut cuts = Cuts::new(root);
        let mut choices = None;
        cuts.members(root, |member| {
            if member.key.is("choices") {
                choices = Some(member.value);
                return false;
            }
            is_one_of(member, &self.root)
        });
        if !self.choice.is_empty() {
            for choice in choices.into_iter().flat_map(Value::elements) {
                cuts.members(choice, |member| is_one_of(member, &self.choice));
            }
        }
        cuts.apply()
    }
}

fn is_one_of(member: &Member<'_>, names: &[&str]) -> bool {
    names.iter().any(|name| member.key.is(name))
}

/// The chunk that a server adds for `include_usage`: no choices, and a usage.
fn is_usage_only(root: Value<'_>) -> bool {
    let (mut no_choices, mut usage) = (false, false);
    for member in root.members() {
        if member.key.is("choices") {
            no_choices = member.value.is_array() && member.value.elements().next().is_none();
            if !no_choices {
                return false;
            }
        } else if member.key.is("usage") {
            usage = member.value.is_object();
        }
    }
    no_choices && usage
}

/// `edited` in the place of `root` in `body`: the white space around the root stays.
pub(crate) fn within(body: &[u8], root: Value<'_>, edited: &str) -> Vec<u8> {
    let text = root.text();
    let start = (text.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    let end = start + text.len();
    let mut out = Vec::with_capacity(edited.len() + body.len() - text.len());
    out.extend_from_slice(&body[..start]);
    out.extend_from_slice(edited.as_bytes());
    out.extend_from_slice(&body[end..]);
    out
}

#[cfg(test)]
mod tests {
    use gateway_json::{Dialect, parse};

    use super::*;

    fn event(rules: &StripRules, data: &[u8]) -> Stripped {
        rules.event(parse(data, Dialect::Python).unwrap())
    }

    #[track_caller]
    fn check(asked: Asked, strip: bool, body: &str, expected: Option<&str>) {
        let stripped = parse(body.as_bytes(), Dialect::Python)
            .ok()
            .and_then(|root| StripRules::new(asked, strip).whole(body.as_bytes(), root));
        assert_eq!(
            stripped.as_deref().map(String::from_utf8_lossy).as_deref(),
            expected
        );
    }

    const BODY: &str = concat!(
        "\n{\"id\":\"x\",\"choices\":[{\"index\":0,\"logprobs\":{\"content\":[]},\"stop_reason\":null,",
        "\"token_ids\":[1],\"routed_experts\":null}, 7],\"prompt_token_ids\":[2],\"usage\":{\"a\":1.0},",
        "\"prompt_logprobs\":null,\"kv_transfer_params\":null}\r\n"
    );

    #[test]
    fn only_what_was_not_asked_for_goes() {
        check(
            Asked {
                injected_logprobs: true,
                ..Asked::default()
            },
            true,
            BODY,
            Some("\n{\"id\":\"x\",\"choices\":[{\"index\":0}, 7],\"usage\":{\"a\":1.0}}\r\n"),
        );
        check(
            Asked {
                token_ids: true,
                prompt_logprobs: true,
                kv_transfer_params: true,
                stop: true,
                ..Asked::default()
            },
            true,
            BODY,
            Some(&BODY.replace(",\"routed_experts\":null", "")),
        );
        check(Asked::default(), false, BODY, None);
        check(
            Asked {
                injected_logprobs: true,
                ..Asked::default()
            },
            false,
            BODY,
            Some(&BODY.replace(",\"logprobs\":{\"content\":[]}", "")),
        );
    }

    #[test]
    fn other_replies_pass_untouched() {
        let asked = Asked {
            injected_logprobs: true,
            ..Asked::default()
        };
        for body in [
            "<html>",
            "[{\"token_ids\":[]}]",
            "null",
            "{\"error\":{}}",
            "{\"choices\":null}",
            "",
        ] {
            check(asked, true, body, None);
        }
        // Python servers write these; they are edited all the same.
        check(
            asked,
            true,
            "{\"prompt_token_ids\":[],\"x\":NaN}",
            Some("{\"x\":NaN}"),
        );
    }

    #[test]
    fn a_usage_event_goes_only_if_it_was_injected() {
        let usage = br#"{"choices":[],"usage":{"total_tokens":1}}"#;
        let asked = Asked {
            injected_usage: true,
            ..Asked::default()
        };
        let injected = StripRules::new(asked, true);
        assert_eq!(event(&injected, usage), Stripped::Dropped);
        assert_eq!(
            event(&StripRules::new(Asked::default(), true), usage),
            Stripped::Unchanged
        );
        let last = br#"{"choices":[{"index":0}],"usage":null}"#;
        assert_eq!(event(&injected, last), Stripped::Unchanged);
        assert_eq!(
            event(&injected, br#"{"choices":[{"index":0,"token_ids":[5]}]}"#),
            Stripped::Edited(r#"{"choices":[{"index":0}]}"#.into())
        );
    }
}
