//! What is written besides traces: sessions and runs.

use serde::{Deserialize, Deserializer, Serialize};

use gateway_trace::Json;

/// Which runs of a session are meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Every run, and the calls that named none.
    All,
    /// One run; `""` means the calls that named none.
    Run(String),
}

impl Scope {
    /// Whether rows of `run_id` (`None`: no run) are meant.
    pub fn includes(&self, run_id: Option<&str>) -> bool {
        match self {
            Scope::All => true,
            Scope::Run(run) => run == run_id.unwrap_or_default(),
        }
    }
}

/// A write that is not a trace. It goes through the journal like one, and so keeps its place
/// among the calls: what was finished before it is there when it is applied, and what comes after
/// it is not touched by it. Times are UNIX seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Creates a session, or updates what of it is given.
    ///
    /// With a run the row of that session and run is meant, and a row without a run that has no
    /// traces yet becomes it. Without a run all rows of the session are updated, and if there is
    /// none a row without a run is created, which takes the run of its first call.
    PutSession {
        /// The session; never empty.
        session_id: String,
        /// The run that the session is created in, if it is known.
        run_id: Option<String>,
        /// Replaces the metadata, if given.
        metadata: Option<Json>,
        /// Replaces the sampling params, if given. They go by session id, whatever the run.
        sampling_params: Option<Json>,
        /// When this was asked for: the session's `created_at`, if this creates it.
        at: f64,
    },
    /// Deletes the rows and traces of sessions within a scope, and the sampling params of each with
    /// its last row. Calls of them that arrived before and have not ended are overtaken: they leave
    /// no trace.
    #[serde(alias = "delete_session")]
    DeleteSessions {
        /// The sessions; however many, they are one change.
        #[serde(alias = "session_id", deserialize_with = "one_or_more")]
        session_ids: Vec<String>,
        /// Which of their runs.
        scope: Scope,
    },
    /// Registers a run. A run that is known already keeps its `started_at`, takes this metadata
    /// and counts as live again.
    StartRun {
        /// The run; never empty.
        run_id: String,
        /// Its metadata: an object.
        metadata: Json,
        /// When it started.
        at: f64,
    },
    /// Notes that a run has ended; nothing happens if it is not known.
    EndRun {
        /// The run.
        run_id: String,
        /// When it ended.
        at: f64,
    },
}

/// Earlier gateways journalled a deletion of each session.
fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Ids {
        One(String),
        More(Vec<String>),
    }
    Ok(match Ids::deserialize(from)? {
        Ids::One(session_id) => vec![session_id],
        Ids::More(session_ids) => session_ids,
    })
}
