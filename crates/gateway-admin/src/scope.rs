//! Which runs of a session a request means.

use std::collections::BTreeSet;

use gateway_store::Scope;

use crate::fields::Fields;
use crate::refusal::Refusal;

/// What a request says about runs, with the gateway's own run as the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Runs {
    /// One run, named by the request or the gateway's own.
    One(String),
    /// All runs, asked for as `*`.
    All,
    /// Nothing is said and the gateway has no run: all runs, but a delete must not guess.
    Unsaid,
}

impl Runs {
    /// Reads `run_id`; `own` is the gateway's run.
    pub(crate) fn read(fields: &impl Fields, own: Option<&str>) -> Result<Self, Refusal> {
        Ok(match fields.text("run_id")?.as_deref().or(own) {
            Some("*") => Self::All,
            Some(run_id) => Self::One(run_id.to_owned()),
            None => Self::Unsaid,
        })
    }

    /// The runs to read.
    pub(crate) fn scope(&self) -> Scope {
        match self {
            Self::One(run_id) => Scope::Run(run_id.clone()),
            Self::All | Self::Unsaid => Scope::All,
        }
    }

    /// The one run, where it is one.
    pub(crate) fn one(&self) -> Option<String> {
        match self {
            Self::One(run_id) => Some(run_id.clone()),
            Self::All | Self::Unsaid => None,
        }
    }

    /// Why a delete is refused that names no run and would reach several: deleting another run's
    /// traces by accident cannot be undone. Calls without a run (`""`) count as one.
    pub(crate) fn ambiguous(session_id: &str, runs: &BTreeSet<String>) -> Refusal {
        let names = runs.iter().map(|run_id| match run_id.as_str() {
            "" => "(none)",
            run_id => run_id,
        });
        let names: Vec<_> = names.collect();
        Refusal::conflict(format!(
            "session `{session_id}` is in {} runs: {}; name one as run_id, or all as run_id=*",
            names.len(),
            names.join(", "),
        ))
    }
}
