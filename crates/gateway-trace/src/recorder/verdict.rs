//! How a call ended, judged from what came and how it stopped coming.

use gateway_json::{Dialect, Error, ErrorKind, Value, parse};

use super::{Body, End, Mark, Recorder};
use crate::dialect::{self, Assembler, Glance};
use crate::{CallError, Outcome, ReplyDigest, error_body, notes};

/// How a call ended.
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    pub(super) error: Option<CallError>,
    /// Whether the reply's end was seen.
    pub(super) ended: bool,
    pub(super) digest: ReplyDigest,
    pub(super) note: Option<&'static str>,
}

impl Recorder {
    pub(super) fn verdict(&self, body: &[u8], root: Option<Value<'_>>, end: End) -> Verdict {
        match &self.body {
            Body::Stream(assembler) => self.stream_verdict(assembler.as_ref(), end),
            Body::Piece(_) | Body::Pieces(_) => self.whole_verdict(body, root, end),
        }
    }

    fn stream_verdict(&self, assembler: &dyn Assembler, end: End) -> Verdict {
        // Of a stream that was not read to its end the framing alone tells that.
        let unread = end == End::Eof && self.notes.has(notes::CAPPED);
        let (outcome, error) = match (&self.mark, cut_off(end)) {
            (Some(Mark::Error(error)), _) => (Outcome::UpstreamError, Some(error.clone())),
            // A stream that has shown its end is whole, whatever happened afterwards.
            (Some(Mark::End), _) => self.judge_stream(assembler),
            (None, Some((outcome, error))) => (outcome, Some(error)),
            (None, None) if !self.is_success() => (
                Outcome::UpstreamError,
                Some(error_body::of_reply(None, &[], self.status())),
            ),
            (None, None) if unread || assembler.settled(self.choices) => {
                self.judge_stream(assembler)
            }
            (None, None) => {
                let error =
                    CallError::truncated("the upstream ended the stream without its end mark");
                (Outcome::Truncated, Some(error))
            }
        };
        let settled_only = !unread && self.mark.is_none() && outcome == Outcome::Completed;
        Verdict {
            outcome,
            error,
            ended: self.mark.is_some(),
            digest: assembler.digest(),
            note: settled_only.then_some(notes::NO_END_MARK),
        }
    }

    /// Of a stream that is whole.
    fn judge_stream(&self, assembler: &dyn Assembler) -> (Outcome, Option<CallError>) {
        let capped = self.notes.has(notes::CAPPED) || assembler.notes().has(notes::CAPPED);
        let error = if !self.is_success() {
            error_body::of_reply(None, &[], self.status())
        } else if let Some(why) = assembler.unreadable().filter(|_| !capped) {
            CallError::unreadable(why)
        } else {
            return (Outcome::Completed, None);
        };
        (Outcome::UpstreamError, Some(error))
    }

    fn whole_verdict(&self, body: &[u8], root: Option<Value<'_>>, end: End) -> Verdict {
        let parsed = root.map_or_else(|| parse(body, Dialect::Python), Ok);
        let object = parsed.ok().filter(|root| root.is_object());
        let glance = object.map(|root| (root, dialect::of(self.endpoint).glance(root)));
        let capped = self.notes.has(notes::CAPPED);
        let close_delimited = end == End::CloseDelimited;
        let (outcome, error) = match cut_off(end) {
            Some((outcome, error)) => (outcome, Some(error)),
            None if close_delimited && self.seems_cut(body, parsed.err()) => {
                let error =
                    CallError::truncated("the connection was closed before the reply was complete");
                (Outcome::Truncated, Some(error))
            }
            None => match self.judge_whole(body, glance.as_ref(), parsed.err(), capped) {
                Some(error) => (Outcome::UpstreamError, Some(error)),
                None => (Outcome::Completed, None),
            },
        };
        Verdict {
            outcome,
            error,
            ended: matches!(outcome, Outcome::Completed | Outcome::UpstreamError),
            digest: glance.map(|(_, glance)| glance.digest).unwrap_or_default(),
            note: None,
        }
    }

    /// What is wrong with a reply that is whole, if anything is.
    fn judge_whole(
        &self,
        body: &[u8],
        object: Option<&(Value<'_>, Glance)>,
        error: Option<Error>,
        capped: bool,
    ) -> Option<CallError> {
        if !self.is_success() {
            return Some(error_body::of_reply(
                object.map(|(root, _)| *root),
                body,
                self.status(),
            ));
        }
        if capped {
            return None;
        }
        match object {
            Some((root, glance)) if glance.is_error => {
                Some(error_body::of_reply(Some(*root), body, self.status()))
            }
            Some((_, glance)) => glance.unreadable.map(CallError::unreadable),
            None => Some(CallError::unreadable(match error {
                Some(_) if body.is_empty() => "the reply is empty".to_owned(),
                Some(error) => format!("the reply is no JSON: {error}"),
                None => "the reply is no JSON object".to_owned(),
            })),
        }
    }

    /// Whether a body that only the connection's close delimits is a beginning of something.
    fn seems_cut(&self, body: &[u8], error: Option<Error>) -> bool {
        match &self.beyond {
            // Not all of it is there to be parsed.
            Some(brackets) => {
                matches!(body.trim_ascii_start().first(), Some(b'{' | b'[')) && brackets.are_open()
            }
            None => error.is_some_and(|error| is_cut(body, &error, self.is_success())),
        }
    }

    fn status(&self) -> u16 {
        self.head.as_ref().map_or(0, |head| head.status)
    }

    fn is_success(&self) -> bool {
        (200..300).contains(&self.status())
    }
}

/// Whether a body that is delimited by its connection's close, and is no JSON because of `error`,
/// is the beginning of a reply that was cut off, and not a whole one that is no JSON. `success`
/// tells whether the reply's status is a 2xx: only then is an empty body not whole.
#[must_use]
pub fn is_cut(body: &[u8], error: &Error, success: bool) -> bool {
    match error.kind {
        ErrorKind::UnexpectedEnd => !body.is_empty() || success,
        // A character that the close cut in two.
        ErrorKind::InvalidUtf8 => error.offset + 4 > body.len(),
        _ => false,
    }
}

/// What an end means that cuts the reply off, whatever came of it.
fn cut_off(end: End) -> Option<(Outcome, CallError)> {
    match end {
        End::Eof | End::CloseDelimited => None,
        End::Broken => Some((
            Outcome::Truncated,
            CallError::truncated("the upstream broke off its reply"),
        )),
        End::ClientGone => Some((
            Outcome::ClientDisconnected,
            CallError::client_disconnected(),
        )),
        End::GatewayError(error) => Some((Outcome::GatewayError, error)),
        End::Interrupted => Some((Outcome::Interrupted, CallError::interrupted())),
    }
}
