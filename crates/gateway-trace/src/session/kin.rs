//! What a store knows of a call's place among the calls of its session.

use crate::TraceRecord;

/// The place of a call among the calls of its session: what its own two halves cannot tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kin {
    /// The earlier call that this one extends.
    pub parent_trace_id: Option<String>,
    /// The number of its line: how many calls of the session and run began one before.
    pub line: Option<u64>,
    /// The later completed call that repeated this one, which did not complete.
    pub superseded_by: Option<String>,
}

impl TraceRecord {
    /// The record with its place in its session filled in.
    #[must_use]
    pub fn with_kin(mut self, kin: &Kin) -> Self {
        let session_id = self.identity.session_id.as_deref().unwrap_or_default();
        self.lineage_id = kin.line.map(|line| format!("{session_id}#{line}"));
        self.parent_trace_id.clone_from(&kin.parent_trace_id);
        self.superseded_by.clone_from(&kin.superseded_by);
        self
    }
}
