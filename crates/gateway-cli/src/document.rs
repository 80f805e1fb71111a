//! The gateway's answers: JSON that is checked once and walked as it stands.

use std::borrow::Cow;

use gateway_json::Value;
use serde_json::value::RawValue;

/// A JSON text of any depth.
pub(crate) struct Document(String);

impl Document {
    /// `None` if this is no JSON.
    pub(crate) fn read(body: Vec<u8>) -> Option<Self> {
        let text = String::from_utf8(body).ok()?;
        // Of a raw value nothing is built, so that a trace may nest as deeply as it was sent.
        serde_json::from_str::<&RawValue>(&text).ok()?;
        Some(Self(text))
    }

    pub(crate) fn root(&self) -> Value<'_> {
        Value::of_valid(self.0.trim_matches([' ', '\t', '\r', '\n']))
    }

    /// What an error of the gateway's says.
    pub(crate) fn error_message(&self) -> Option<Cow<'_, str>> {
        let error = self.root().get("error")?;
        error.get("message")?.as_str_lossy()
    }
}

/// The members of an object, found in one walk over it.
#[derive(Default)]
pub(crate) struct Object<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

impl<'a> Object<'a> {
    /// No members, if this is no object.
    pub(crate) fn of(value: Value<'a>) -> Self {
        let members = value.members();
        Self(
            members
                .map(|member| (member.key.to_cow(), member.value))
                .collect(),
        )
    }

    /// The member of this name, unless it is null.
    pub(crate) fn get(&self, name: &str) -> Option<Value<'a>> {
        let mut members = self.0.iter();
        let (_, value) = members.find(|(key, _)| key == name)?;
        (!value.is_null()).then_some(*value)
    }

    /// A string that is not empty.
    pub(crate) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name)?
            .as_str_lossy()
            .filter(|text| !text.is_empty())
    }

    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.get(name)?.as_f64()
    }

    pub(crate) fn integer(&self, name: &str) -> Option<i64> {
        self.get(name)?.as_i64()
    }

    pub(crate) fn object(&self, name: &str) -> Object<'a> {
        self.get(name).map(Object::of).unwrap_or_default()
    }

    /// The elements of an array; none if it is none.
    pub(crate) fn elements(&self, name: &str) -> impl Iterator<Item = Value<'a>> + use<'a> {
        self.get(name).into_iter().flat_map(Value::elements)
    }
}

/// A value in one line, every byte of it but the white space between its tokens: within a string
/// a line end never stands as it is.
pub(crate) fn one_line(value: Value<'_>) -> Cow<'_, str> {
    let text = value.text();
    if text.contains(['\n', '\r']) {
        Cow::Owned(text.replace(['\n', '\r'], " "))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document::read(text.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn only_json_is_an_answer() {
        for text in ["", "<html>", "{\"a\":}", "{} {}", "{\"a\":\"\n\"}"] {
            assert!(Document::read(text.as_bytes().to_vec()).is_none(), "{text}");
        }
        assert!(Document::read(b"\"\xff\"".to_vec()).is_none());
    }

    #[test]
    fn depth_surrogates_and_long_numbers_are_no_obstacle() {
        let deep = format!(
            " {{\"deep\":{}1{},\"lone\":\"a\\ud800b\",\"n\":12345678901234567890123}}\n",
            "[".repeat(500),
            "]".repeat(500)
        );
        let document = document(&deep);
        let object = Object::of(document.root());
        assert_eq!(object.text("lone").as_deref(), Some("a\u{fffd}b"));
        assert_eq!(object.get("n").unwrap().text(), "12345678901234567890123");
        assert_eq!(object.elements("deep").count(), 1);
    }

    #[test]
    fn a_null_or_empty_member_is_as_good_as_absent() {
        let document = document(r#"{"a":null,"b":"","c":"x","d":{"e":1}}"#);
        let object = Object::of(document.root());
        assert!(object.get("a").is_none());
        assert_eq!(object.text("b"), None);
        assert_eq!(object.text("c").as_deref(), Some("x"));
        assert_eq!(object.object("d").integer("e"), Some(1));
        assert_eq!(object.object("none").integer("e"), None);
    }

    #[test]
    fn one_line_keeps_every_token() {
        let document = document("{\"a\" : [1.0,\r\n 1e3],\n\"b\":\"\\n\"}");
        assert_eq!(
            one_line(document.root()),
            "{\"a\" : [1.0,   1e3], \"b\":\"\\n\"}"
        );
    }
}
