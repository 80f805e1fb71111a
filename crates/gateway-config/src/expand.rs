//! `${NAME}`, `${NAME:-default}` and `$$` in the strings of the file.

use std::env::VarError;

/// Why a string could not be expanded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ExpandError {
    /// The variable is not set and the reference names no default.
    NotSet(String),
    /// The variable holds bytes that are not UTF-8.
    NotUtf8(String),
    /// `${` without its `}`, or with something in between that is no name.
    Malformed(String),
}

impl ExpandError {
    pub(crate) fn message(&self) -> String {
        match self {
            ExpandError::NotSet(name) => format!(
                "the environment variable {name} is not set (set it, or write ${{{name}:-default}})"
            ),
            ExpandError::NotUtf8(name) => {
                format!("the environment variable {name} is not valid UTF-8")
            }
            ExpandError::Malformed(what) => format!(
                "{what}: a reference is ${{NAME}} or ${{NAME:-default}}, and $$ is a dollar"
            ),
        }
    }
}

/// Replaces every reference in `text` by the value of its variable.
///
/// As in a shell, the default of `${NAME:-default}` also serves where the variable is set but
/// empty. What a variable holds is taken as it is: it is not expanded again. A dollar that
/// begins neither `${` nor `$$` stands for itself.
pub(crate) fn expand(
    text: &str,
    variable: &dyn Fn(&str) -> Result<String, VarError>,
) -> Result<String, ExpandError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = after.strip_prefix('{') {
            let end = after
                .find('}')
                .ok_or_else(|| ExpandError::Malformed("a ${ has no closing brace".to_owned()))?;
            let (name, default) = match after[..end].split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (&after[..end], None),
            };
            if !is_name(name) {
                return Err(ExpandError::Malformed(format!(
                    "{name:?} is no name of a variable"
                )));
            }
            match (variable(name), default) {
                (Ok(value), None) => out.push_str(&value),
                (Ok(value), Some(_)) if !value.is_empty() => out.push_str(&value),
                (Ok(_) | Err(VarError::NotPresent), Some(default)) => out.push_str(default),
                (Err(VarError::NotPresent), None) => {
                    return Err(ExpandError::NotSet(name.to_owned()));
                }
                (Err(VarError::NotUnicode(_)), _) => {
                    return Err(ExpandError::NotUtf8(name.to_owned()));
                }
            }
            rest = &after[end + 1..];
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first == b'_' || first.is_ascii_alphabetic())
        && bytes.all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, ExpandError>) {
        let environment = |name: &str| match name {
            "KEY" => Ok("sk-${OTHER}".to_owned()),
            "EMPTY" => Ok(String::new()),
            "_x9" => Ok("under".to_owned()),
            _ => Err(VarError::NotPresent),
        };
        assert_eq!(
            expand(text, &environment),
            expected.map(str::to_owned),
            "{text}"
        );
    }

    #[test]
    fn references_are_replaced() {
        check("", Ok(""));
        check("plain", Ok("plain"));
        check("Bearer ${KEY}", Ok("Bearer sk-${OTHER}"));
        check("${_x9}/${EMPTY}/${_x9}", Ok("under//under"));
        check("${KEY:-other}", Ok("sk-${OTHER}"));
        check("${NONE:-other}", Ok("other"));
        check("${NONE:-}", Ok(""));
        check("${NONE:-a:-b}", Ok("a:-b"));
        check("${EMPTY:-other}", Ok("other"));
    }

    #[test]
    fn dollars_stand_for_themselves() {
        check("$$", Ok("$"));
        check("$${KEY}", Ok("${KEY}"));
        check("$$$$", Ok("$$"));
        check("$KEY and 5$", Ok("$KEY and 5$"));
    }

    #[test]
    fn what_cannot_be_understood_is_an_error() {
        check("a ${NONE}", Err(ExpandError::NotSet("NONE".to_owned())));
        check(
            "${KEY",
            Err(ExpandError::Malformed(
                "a ${ has no closing brace".to_owned(),
            )),
        );
        for name in ["", "9x", "a b", "KEY-x", "KEY:x"] {
            check(
                &format!("${{{name}}}"),
                Err(ExpandError::Malformed(format!(
                    "{name:?} is no name of a variable"
                ))),
            );
        }
    }
}
