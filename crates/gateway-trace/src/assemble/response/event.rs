//! What an event of a response's stream says.

use gateway_json::Value;

use crate::assemble::has_room;

/// An event, in so far as it is about an output item.
#[derive(Debug)]
pub(super) struct Event<'a> {
    /// The event's `output_index`.
    pub(super) index: Option<i64>,
    /// The event's `item_id`, a string.
    pub(super) id: Option<Value<'a>>,
    pub(super) piece: Piece<'a>,
}

/// What an event brings.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    /// A new item.
    Added(Value<'a>),
    /// An item as it is at its end.
    Done(Value<'a>),
    /// A part of an item, at its begin or at its end.
    Part {
        home: Home,
        index: i64,
        part: Value<'a>,
        done: bool,
    },
    /// Text for a member of an item, or of the part at `index`.
    Text {
        home: Home,
        index: i64,
        /// In its escaped form.
        text: &'a str,
        /// All of the text, and not more of it.
        whole: bool,
        logprobs: Option<Value<'a>>,
    },
    /// An annotation of the part at `index` of an item's content.
    Annotation { index: i64, annotation: Value<'a> },
}

/// Where a piece belongs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Home {
    /// The type of the item.
    pub(super) item: &'static str,
    /// The list of the part, if it is one of a part.
    pub(super) list: Option<List>,
    /// The type of the part.
    pub(super) part: &'static str,
    /// The member that text goes into.
    pub(super) member: &'static str,
}

/// A list of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    Content,
    Summary,
}

/// Where annotations and parts of messages belong.
pub(super) const OUTPUT_TEXT: Home = part("message", List::Content, "output_text", "text");

const fn part(item: &'static str, list: List, part: &'static str, member: &'static str) -> Home {
    Home {
        item,
        list: Some(list),
        part,
        member,
    }
}

const fn member(item: &'static str, member: &'static str) -> Home {
    Home {
        item,
        list: None,
        part: "",
        member,
    }
}

/// Where an event of this name, its last word aside, puts what it brings.
fn home(name: &str) -> Option<Home> {
    Some(match name {
        "response.output_text" | "response.content_part" => OUTPUT_TEXT,
        "response.refusal" => part("message", List::Content, "refusal", "refusal"),
        // vLLM has its own name for the parts of reasoning.
        "response.reasoning_text" | "response.reasoning_part" => {
            part("reasoning", List::Content, "reasoning_text", "text")
        }
        "response.reasoning_summary_text" | "response.reasoning_summary_part" => {
            part("reasoning", List::Summary, "summary_text", "text")
        }
        "response.function_call_arguments" => member("function_call", "arguments"),
        "response.custom_tool_call_input" => member("custom_tool_call", "input"),
        "response.mcp_call_arguments" => member("mcp_call", "arguments"),
        "response.code_interpreter_call_code" => member("code_interpreter_call", "code"),
        _ => return None,
    })
}

impl<'a> Event<'a> {
    /// Reads an event of this kind; none if it brings nothing for an item.
    pub(super) fn read(kind: &str, root: Value<'a>) -> Option<Self> {
        let (name, last) = kind.rsplit_once('.')?;
        let home = match name {
            "response.output_item" | "response.output_text.annotation" => OUTPUT_TEXT,
            _ => home(name)?,
        };
        let (mut index, mut id, mut part_index) = (None, None, None);
        let (mut brought, mut logprobs) = (None, None);
        let brings = match (name, last) {
            ("response.output_item", _) => "item",
            ("response.output_text.annotation", _) => "annotation",
            _ if name.ends_with("_part") => "part",
            (_, "delta") => "delta",
            _ => home.member,
        };
        for member in root.members() {
            match &*member.key.to_cow() {
                "output_index" => index = member.value.as_integral(),
                "item_id" => id = Some(member.value).filter(|id| id.is_string()),
                "content_index" | "summary_index" => part_index = member.value.as_integral(),
                "logprobs" => logprobs = Some(member.value),
                key if key == brings => brought = Some(member.value),
                _ => {}
            }
        }
        let part_index = part_index.unwrap_or(0);
        let object = || brought.filter(|brought| brought.is_object());
        let piece = match (brings, last) {
            ("item", "added") => Piece::Added(object()?),
            ("item", "done") => Piece::Done(object()?),
            ("annotation", "added") => Piece::Annotation {
                index: part_index,
                annotation: object()?,
            },
            ("part", "added" | "done") => Piece::Part {
                home,
                index: part_index,
                part: object()?,
                done: last == "done",
            },
            ("item" | "annotation" | "part", _) => return None,
            (_, "delta" | "done") => Piece::Text {
                home,
                index: part_index,
                text: brought?.string_text()?,
                whole: last == "done",
                logprobs: logprobs.filter(|logprobs| has_elements(Some(*logprobs))),
            },
            _ => return None,
        };
        Some(Self { index, id, piece })
    }

    /// Whether what it brings can be read where it lies in the whole response: in the list of a
    /// part of an item's content at the deepest.
    pub(super) fn has_room(&self) -> bool {
        match &self.piece {
            Piece::Added(item) | Piece::Done(item) => has_room(item.text(), 2),
            Piece::Part { part, .. } => has_room(part.text(), 4),
            Piece::Text { logprobs, .. } => logprobs.is_none_or(|all| has_room(all.text(), 5)),
            Piece::Annotation { annotation, .. } => has_room(annotation.text(), 6),
        }
    }
}

impl Piece<'_> {
    /// The length of what it brings.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Added(value) | Self::Done(value) => value.text().len(),
            Self::Part { part, .. } => part.text().len(),
            Self::Annotation { annotation, .. } => annotation.text().len(),
            Self::Text { text, logprobs, .. } => {
                text.len() + logprobs.map_or(0, |logprobs| logprobs.text().len())
            }
        }
    }
}

/// Whether this is an array with something in it.
pub(super) fn has_elements(array: Option<Value<'_>>) -> bool {
    array.is_some_and(|array| array.elements().next().is_some())
}
