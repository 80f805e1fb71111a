//! Variables in the words of a shell.

use gateway_json::quote;

use crate::args::Shell;
use crate::harness::Setup;

/// The lines that set everything up, for `eval` or `source`. There are no comments in them: an
/// interactive zsh knows none.
pub(crate) fn script(setup: &Setup, shell: Shell) -> String {
    let quoted: fn(&str) -> String = match shell {
        Shell::Json => return json(setup),
        Shell::Sh => sh_quoted,
        Shell::Fish => fish_quoted,
    };
    let mut out = String::new();
    for (name, value) in &setup.variables {
        let value = value.as_deref().map(quoted);
        out.push_str(&match (shell, value) {
            (Shell::Fish, Some(value)) => format!("set -gx {name} {value}\n"),
            (Shell::Fish, None) => format!("set -e {name}\n"),
            (_, Some(value)) => format!("export {name}={value}\n"),
            (_, None) => format!("unset {name}\n"),
        });
    }
    if let Some((program, arguments)) = &setup.command {
        let arguments: Vec<String> = arguments.iter().map(|text| quoted(text)).collect();
        let arguments = arguments.join(" ");
        out.push_str(&match shell {
            Shell::Fish => {
                format!("function {program}; command {program} {arguments} $argv; end\n")
            }
            _ => format!("{program}() {{ command {program} {arguments} \"$@\"; }}\n"),
        });
    }
    out
}

/// Nothing but its end means anything within single quotes.
fn sh_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// In fish a backslash escapes itself and the quote.
fn fish_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

/// `{"variables": {name: value, or null for one that must not be set}, "arguments": [..]}`; the
/// arguments belong before those of the client's own.
fn json(setup: &Setup) -> String {
    let variables: Vec<String> = setup
        .variables
        .iter()
        .map(|(name, value)| {
            let value = value.as_deref().map_or("null".to_owned(), quote);
            format!("{}:{value}", quote(name))
        })
        .collect();
    let arguments: Vec<String> = setup
        .command
        .iter()
        .flat_map(|(_, arguments)| arguments)
        .map(|text| quote(text))
        .collect();
    format!(
        "{{\"variables\":{{{}}},\"arguments\":[{}]}}\n",
        variables.join(","),
        arguments.join(",")
    )
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const HOSTILE: &str = "a'b\\c\"d$(echo x)`echo y`\n!* e\\";

    /// What a shell makes of a value is the value.
    #[test]
    fn a_value_survives_the_shell() {
        let setup = Setup {
            variables: vec![("A", Some(HOSTILE.to_owned())), ("B", None)],
            command: Some(("printf", vec!["%s|".to_owned(), HOSTILE.to_owned()])),
        };
        let script = script(&setup, Shell::Sh);
        for shell in ["sh", "bash"] {
            let output = Command::new(shell)
                .args([
                    "-c",
                    "eval \"$0\"; printf more; printf '%s' \"$A ${B-unset}\"",
                ])
                .arg(&script)
                .env("B", "x")
                .output()
                .expect("a shell");
            let shown = String::from_utf8_lossy(&output.stdout);
            let expected = format!("{HOSTILE}|more|{HOSTILE}|%s|{HOSTILE} unset|");
            assert_eq!(shown, expected, "{shell}: {output:?}");
        }
    }

    #[test]
    fn fish_has_its_own_words() {
        let setup = Setup {
            variables: vec![("A", Some(r"a'b\c".to_owned())), ("B", None)],
            command: Some(("codex", vec!["-c".to_owned(), "x='1'".to_owned()])),
        };
        assert_eq!(
            script(&setup, Shell::Fish),
            "set -gx A 'a\\'b\\\\c'\nset -e B\n\
             function codex; command codex '-c' 'x=\\'1\\'' $argv; end\n"
        );
    }

    #[test]
    fn json_is_json() {
        let setup = Setup {
            variables: vec![("A", Some(HOSTILE.to_owned())), ("B", None)],
            command: Some(("codex", vec!["-c".to_owned(), HOSTILE.to_owned()])),
        };
        let value: serde_json::Value =
            serde_json::from_str(&script(&setup, Shell::Json)).expect("JSON");
        assert_eq!(
            value,
            serde_json::json!({"variables": {"A": HOSTILE, "B": null}, "arguments": ["-c", HOSTILE]})
        );
    }
}
