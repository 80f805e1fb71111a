//! `report`: whether a trainer may take a session as it is.

use crate::args;
use crate::client::{Client, Question, encoded};
use crate::document::{Object, one_line};
use crate::error::Error;
use crate::feed::not_empty;
use crate::screen::{Screen, Tone};
use crate::{screen, text};

/// The verdict of a session that a trainer may take.
const COMPLETE: &str = "complete";

/// `report`; gives 0 for a session that is complete, else 1.
pub(crate) async fn print(
    args: &args::Report,
    client: &Client,
    screen: &Screen,
) -> Result<u8, Error> {
    let session = encoded(&not_empty(&args.session)?);
    let question =
        Question::new(format!("/sessions/{session}/report")).with("run_id", args.run.as_deref());
    let answer = client.ask(&question).await?;
    let report = Object::of(answer.root());
    let Some(verdict) = report.text("verdict") else {
        return Err(client.foreign(&question, "an answer without a verdict"));
    };
    match args.json {
        true => screen::print(&format!("{}\n", one_line(answer.root())))?,
        false => screen::print(&read_out(&report, screen))?,
    }
    Ok(u8::from(verdict != COMPLETE))
}

/// The report as a page: the verdict first, the reasons last.
fn read_out(report: &Object<'_>, screen: &Screen) -> String {
    let field = |name| text::one_line(&report.text(name).unwrap_or_default());
    let count = |name| report.integer(name).unwrap_or(0);
    let verdict = field("verdict");
    let tone = match &*verdict {
        COMPLETE => Tone::Good,
        "in_progress" => Tone::Open,
        _ => Tone::Bad,
    };
    let run = match field("run_id") {
        run if run.is_empty() => run,
        run => format!(" (run {run})"),
    };
    let mut out = format!(
        "{}  {}{run}\n",
        screen.paint(tone, &verdict),
        field("session_id")
    );
    out.push_str(&format!(
        "  {} accepted: {} persisted, {} in flight, {} deleted\n",
        count("accepted"),
        count("persisted"),
        count("in_flight"),
        count("deleted")
    ));
    let failed = report
        .get("failed")
        .into_iter()
        .flat_map(gateway_json::Value::members);
    let failed: Vec<String> = failed
        .map(|member| {
            let outcome = text::one_line(&member.key.to_cow());
            format!(", {} {outcome}", text::one_line(member.value.text()))
        })
        .collect();
    let superseded = match count("superseded") {
        0 => String::new(),
        superseded => format!(" ({superseded} of the failed ones were repeated and completed)"),
    };
    out.push_str(&format!(
        "  {} completed{}{superseded}\n",
        count("completed"),
        failed.concat()
    ));
    for prefix_break in report.elements("prefix_breaks") {
        let prefix_break = Object::of(prefix_break);
        out.push_str(&format!(
            "  tokenized anew: {} at token {}\n",
            text::one_line(&prefix_break.text("trace_id").unwrap_or_default()),
            prefix_break.integer("at_token").unwrap_or(0)
        ));
    }
    for reason in report.elements("reasons") {
        let reason = reason.as_str_lossy().unwrap_or_default();
        out.push_str(&format!("  {}\n", text::one_line(&reason)));
    }
    out
}

#[cfg(test)]
mod tests;
