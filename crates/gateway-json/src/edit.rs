//! Splicing: members cut, set and inserted while every other byte stays where it was.

use crate::check::Span;
use crate::text::push_quoted;
use crate::value::{Member, Value};

/// Edits to one validated text, collected first and applied in one pass.
///
/// A removed member goes with the comma before it, the first one with the comma after it; a new
/// one stands before the closing brace. Removing a member outranks any edit inside it.
#[derive(Debug)]
pub struct Edits<'a> {
    root: Value<'a>,
    objects: Vec<ObjectEdits<'a>>,
    replaced: Vec<(Value<'a>, String)>,
}

#[derive(Debug)]
struct ObjectEdits<'a> {
    object: Value<'a>,
    /// Where the literals of removed keys begin in the root's text.
    removed: Vec<usize>,
    /// Whole members, `"key":value`.
    added: Vec<String>,
}

#[derive(Debug)]
struct Splice<'e> {
    start: usize,
    end: usize,
    text: &'e str,
}

impl<'a> Edits<'a> {
    /// No edits yet to the text of `root`.
    #[must_use]
    pub fn new(root: Value<'a>) -> Self {
        Self {
            root,
            objects: Vec::new(),
            replaced: Vec::new(),
        }
    }

    /// Whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.replaced.is_empty()
            && self
                .objects
                .iter()
                .all(|edits| edits.removed.is_empty() && edits.added.is_empty())
    }

    /// Removes the members of `object` for which `which` is true. `object` must be a value of
    /// this root; if it is no object, nothing happens.
    pub fn remove(&mut self, object: Value<'a>, mut which: impl FnMut(&Member<'a>) -> bool) {
        let root = self.root;
        let removed: Vec<usize> = object
            .members()
            .filter(|member| which(member))
            .map(|member| offset(root, member.key.literal()))
            .collect();
        if !removed.is_empty() {
            self.edits_of(object).removed.extend(removed);
        }
    }

    /// Puts `text`, which must be a JSON value, in the place of `value`.
    pub fn replace(&mut self, value: Value<'a>, text: impl Into<String>) {
        self.replaced.push((value, text.into()));
    }

    /// Adds a member to `object`; `text` must be a JSON value.
    pub fn insert(&mut self, object: Value<'a>, key: &str, text: &str) {
        let mut member = String::with_capacity(key.len() + text.len() + 3);
        push_quoted(&mut member, key);
        member.push(':');
        member.push_str(text);
        self.edits_of(object).added.push(member);
    }

    /// Gives the member `key` of `object` the value `text`: in its place where the key is there
    /// (every occurrence), else as a new member.
    pub fn set(&mut self, object: Value<'a>, key: &str, text: &str) {
        let mut found = false;
        for member in object.members().filter(|member| member.key.is(key)) {
            self.replace(member.value, text);
            found = true;
        }
        if !found {
            self.insert(object, key, text);
        }
    }

    /// The edited text, or `None` where there was nothing to edit.
    #[must_use]
    pub fn apply(&self) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let added: Vec<String> = self.objects.iter().map(ObjectEdits::insertion).collect();
        let mut splices = Vec::new();
        for (edits, added) in self.objects.iter().zip(&added) {
            edits.splices(self.root, added, &mut splices);
        }
        for (value, text) in &self.replaced {
            let start = offset(self.root, value.text());
            splices.push(Splice {
                start,
                end: start + value.text().len(),
                text,
            });
        }
        // Stable, and the longer one first where two begin at one place: an edit inside of what
        // is cut then begins before the cut has ended, and is passed over below.
        splices.sort_by_key(|splice| (splice.start, std::cmp::Reverse(splice.end)));

        let source = self.root.text();
        let grown: usize = splices.iter().map(|splice| splice.text.len()).sum();
        let mut out = String::with_capacity(source.len() + grown);
        let mut copied = 0;
        for splice in &splices {
            if splice.start < copied {
                continue;
            }
            out.push_str(&source[copied..splice.start]);
            out.push_str(splice.text);
            copied = splice.end;
        }
        out.push_str(&source[copied..]);
        Some(out)
    }

    fn edits_of(&mut self, object: Value<'a>) -> &mut ObjectEdits<'a> {
        let start = object.text().as_ptr();
        let known = self
            .objects
            .iter()
            .position(|edits| std::ptr::eq(edits.object.text().as_ptr(), start));
        let index = known.unwrap_or_else(|| {
            self.objects.push(ObjectEdits {
                object,
                removed: Vec::new(),
                added: Vec::new(),
            });
            self.objects.len() - 1
        });
        &mut self.objects[index]
    }
}

impl ObjectEdits<'_> {
    /// The added members, with a comma before them where a member stays before them.
    fn insertion(&self) -> String {
        if self.added.is_empty() {
            return String::new();
        }
        let members = self.object.members().count();
        let mut text = String::new();
        if members > self.distinct_removed().len() {
            text.push(',');
        }
        text.push_str(&self.added.join(","));
        text
    }

    fn distinct_removed(&self) -> Vec<usize> {
        let mut removed = self.removed.clone();
        removed.sort_unstable();
        removed.dedup();
        removed
    }

    fn splices<'e>(&self, root: Value<'_>, added: &'e str, out: &mut Vec<Splice<'e>>) {
        let object_end = offset(root, self.object.text()) + self.object.text().len();
        if !self.removed.is_empty() {
            let removed = self.distinct_removed();
            let mut spans = Vec::new();
            cut_members(
                root,
                self.object,
                |member| {
                    let start = offset(root, member.key.literal());
                    removed.binary_search(&start).is_ok()
                },
                &mut spans,
            );
            out.extend(spans.into_iter().map(|(start, end)| Splice {
                start,
                end,
                text: "",
            }));
        }
        if !added.is_empty() {
            out.push(Splice {
                start: object_end - 1,
                end: object_end - 1,
                text: added,
            });
        }
    }
}

/// Members to be cut out of one validated text, and nothing else: the short way for what is done
/// to every event of a stream. The comma rules are those of [`Edits`].
///
/// ```
/// use gateway_json::{Cuts, Dialect, parse};
///
/// let root = parse(br#"{"a": 1, "b": {"c": 2}, "d": 3}"#, Dialect::Strict)?;
/// let mut cuts = Cuts::new(root);
/// cuts.members(root, |member| member.key.is("a"));
/// assert_eq!(cuts.apply().as_deref(), Some(r#"{ "b": {"c": 2}, "d": 3}"#));
/// # Ok::<(), gateway_json::Error>(())
/// ```
#[derive(Debug)]
pub struct Cuts<'a> {
    root: Value<'a>,
    spans: Vec<Span>,
}

impl<'a> Cuts<'a> {
    /// No cuts yet into the text of `root`.
    #[must_use]
    pub fn new(root: Value<'a>) -> Self {
        Self {
            root,
            spans: Vec::new(),
        }
    }

    /// Cuts the members of `object` for which `which` is true. `object` must be a value of this
    /// root, and comes once; a member that holds an object of which something is cut must stay.
    pub fn members(&mut self, object: Value<'a>, which: impl FnMut(&Member<'a>) -> bool) {
        cut_members(self.root, object, which, &mut self.spans);
    }

    /// The text without what was cut, or `None` where nothing was.
    #[must_use]
    pub fn apply(mut self) -> Option<String> {
        if self.spans.is_empty() {
            return None;
        }
        self.spans.sort_unstable();
        let source = self.root.text();
        let mut out = String::with_capacity(source.len());
        let mut copied = 0;
        for (start, end) in self.spans {
            out.push_str(&source[copied..start]);
            copied = end;
        }
        out.push_str(&source[copied..]);
        Some(out)
    }
}

/// Finds the spans to cut, each with its comma, so that what stays is an object.
fn cut_members<'a>(
    root: Value<'a>,
    object: Value<'a>,
    mut which: impl FnMut(&Member<'a>) -> bool,
    spans: &mut Vec<Span>,
) {
    let mut any_stays = false;
    // The last one that goes, as long as none stays.
    let mut leading: Option<Span> = None;
    let mut previous_end = 0;
    for member in object.members() {
        let start = offset(root, member.key.literal());
        let end = offset(root, member.value.text()) + member.value.text().len();
        if let Some((start, end)) = leading.take() {
            spans.push((start, comma(root, end) + 1));
        }
        if !which(&member) {
            any_stays = true;
        } else if any_stays {
            spans.push((comma(root, previous_end), end));
        } else {
            leading = Some((start, end));
        }
        previous_end = end;
    }
    spans.extend(leading);
}

/// Where `part` begins in the root's text.
fn offset(root: Value<'_>, part: &str) -> usize {
    let offset = (part.as_ptr() as usize).wrapping_sub(root.text().as_ptr() as usize);
    assert!(
        offset <= root.text().len(),
        "an edited value must belong to the text it edits"
    );
    offset
}

/// The offset of the first comma at or after `from`, with nothing but white space between.
fn comma(root: Value<'_>, from: usize) -> usize {
    from + root.text()[from..].find(',').unwrap_or(0)
}

#[cfg(test)]
mod tests;
