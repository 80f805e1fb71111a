//! The rows of the memory store, and how a batch changes them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use gateway_trace::{Json, Kin, Outcome, Summary};

use crate::batch::{Applied, Batch, COMMIT_STEP, NewTrace, Position, Write, is_plain};
use crate::change::{Change, Scope};
use crate::query::{Run, Session, StoredTrace};

#[derive(Default)]
pub(super) struct Tables {
    pub(super) position: Option<Position>,
    pub(super) last_arrival: u64,
    last_commit: u64,
    last_created_at: f64,
    /// By commit sequence.
    pub(super) traces: BTreeMap<u64, Trace>,
    pub(super) by_id: HashMap<String, u64>,
    /// Session, arrival and commit sequence.
    by_session: BTreeSet<(String, u64, u64)>,
    /// By session and run, `""` for none.
    sessions: BTreeMap<(String, String), SessionRow>,
    pub(super) sampling_params: BTreeMap<String, Json>,
    pub(super) runs: BTreeMap<String, RunRow>,
    /// Numbers sessions and runs as they are made.
    made: u64,
}

pub(super) struct Trace {
    pub(super) stored: StoredTrace,
    pub(super) summary: Summary,
    line_key: Option<u64>,
    request_key: Option<u64>,
}

struct SessionRow {
    session: Session,
    made: u64,
    /// How many lines its calls have begun.
    lines: u64,
}

pub(super) struct RunRow {
    pub(super) run: Run,
    made: u64,
    registered: bool,
}

impl Tables {
    pub(super) fn apply(&mut self, batch: &Batch) -> Applied {
        let mut applied = Applied::default();
        let at = batch.position;
        let known = self
            .position
            .filter(|known| known.journal_id == at.journal_id);
        let stored = known.map_or(0, |known| known.applied);
        for item in batch.items.iter().filter(|item| item.seq > stored) {
            match &item.write {
                Write::Trace(trace) => applied.traces += self.insert(trace, batch.at),
                Write::Overtaken { session_id, run_id } => {
                    self.count_overtaken(session_id, run_id.as_deref());
                }
                Write::Change(change) => {
                    if let Some(deleted) = self.change(change) {
                        applied.deleted.push((item.seq, deleted));
                    }
                }
            }
        }
        self.position = Some(known.map_or(at, |known| known.max(at)));
        applied
    }

    fn insert(&mut self, trace: &NewTrace, at: f64) -> u64 {
        let summary = &trace.summary;
        self.last_arrival = self.last_arrival.max(trace.arrival_seq);
        if self.by_id.contains_key(&summary.trace_id) {
            return 0;
        }
        self.last_commit += 1;
        self.last_created_at = at.max(self.last_created_at + COMMIT_STEP);
        let stored = StoredTrace {
            commit_seq: self.last_commit,
            arrival_seq: trace.arrival_seq,
            created_at: self.last_created_at,
            call: trace.call.clone(),
            reply: trace.reply.clone(),
            kin: self.kin(trace),
        };
        let session_id = summary.session_id().to_owned();
        self.by_session
            .insert((session_id, trace.arrival_seq, self.last_commit));
        self.by_id
            .insert(summary.trace_id.clone(), self.last_commit);
        self.traces.insert(
            self.last_commit,
            Trace {
                stored,
                summary: summary.clone(),
                line_key: trace.line_key(),
                request_key: trace.keys.as_ref().map(|keys| keys.request),
            },
        );
        self.count_in_session(summary);
        self.note_run(summary);
        1
    }

    /// The place of a new trace among those that are stored. A line that it begins is counted.
    fn kin(&mut self, new: &NewTrace) -> Kin {
        let session_id = new.summary.session_id();
        let mut earlier: Vec<_> = self
            .of_session(session_id)
            .filter(|trace| trace.stored.arrival_seq < new.arrival_seq)
            .collect();
        let parent = std::iter::from_fn(|| earlier.pop()).find(|trace| {
            trace
                .line_key
                .is_some_and(|key| new.parent_keys().contains(&key))
        });
        if let Some(parent) = parent {
            return Kin {
                parent_trace_id: Some(parent.summary.trace_id.clone()),
                line: parent.stored.kin.line,
                superseded_by: None,
            };
        }
        let line = new.may_begin_line().then(|| {
            let run_id = new.summary.identity.run_id.as_deref();
            self.bind(session_id, run_id);
            let row = self.session_row(session_id, run_id, new.summary.timestamp);
            row.lines += 1;
            row.lines - 1
        });
        Kin {
            line,
            ..Kin::default()
        }
    }

    /// The trace as it is given out: with what superseded it by now.
    pub(super) fn shown(&self, trace: &Trace) -> StoredTrace {
        let mut stored = trace.stored.clone();
        if trace.summary.outcome != Outcome::Completed && trace.request_key.is_some() {
            let superseding = self.of_session(trace.summary.session_id()).find(|later| {
                later.stored.arrival_seq > trace.stored.arrival_seq
                    && later.summary.outcome == Outcome::Completed
                    && later.request_key == trace.request_key
            });
            stored.kin.superseded_by = superseding.map(|later| later.summary.trace_id.clone());
        }
        stored
    }

    fn count_overtaken(&mut self, session_id: &str, run_id: Option<&str>) {
        let key = (session_id.to_owned(), run_id.unwrap_or_default().to_owned());
        if let Some(row) = self.sessions.get_mut(&key) {
            row.session.deleted_count += 1;
        }
    }

    /// Counts a new trace in the row of its session, which it may make.
    fn count_in_session(&mut self, summary: &Summary) {
        let session_id = summary.session_id();
        if session_id.is_empty() {
            return;
        }
        let run_id = summary.identity.run_id.as_deref();
        self.bind(session_id, run_id);
        let created_at = self.last_created_at;
        let row = &mut self
            .session_row(session_id, run_id, summary.timestamp)
            .session;
        row.total_count += 1;
        row.trace_count += u64::from(is_plain(summary));
        row.first_trace_at.get_or_insert(created_at);
        row.last_trace_at = Some(created_at);
    }

    /// Gives a session that was made without a run, and has no traces, its run.
    fn bind(&mut self, session_id: &str, run_id: Option<&str>) {
        let Some(run_id) = run_id else { return };
        let bound = (session_id.to_owned(), run_id.to_owned());
        let unbound = (session_id.to_owned(), String::new());
        let is_free = |row: &SessionRow| row.session.total_count == 0;
        if !self.sessions.contains_key(&bound) && self.sessions.get(&unbound).is_some_and(is_free) {
            let mut row = self.sessions.remove(&unbound).expect("it was found");
            row.session.run_id = Some(run_id.to_owned());
            self.sessions.insert(bound, row);
        }
    }

    fn session_row(&mut self, session_id: &str, run_id: Option<&str>, at: f64) -> &mut SessionRow {
        let key = (session_id.to_owned(), run_id.unwrap_or_default().to_owned());
        self.sessions.entry(key).or_insert_with(|| {
            self.made += 1;
            let session = Session {
                session_id: session_id.to_owned(),
                trace_count: 0,
                total_count: 0,
                created_at: at,
                metadata: Json::empty_object(),
                run_id: run_id.map(str::to_owned),
                first_trace_at: None,
                last_trace_at: None,
                deleted_count: 0,
            };
            SessionRow {
                session,
                made: self.made,
                lines: 0,
            }
        })
    }

    fn note_run(&mut self, summary: &Summary) {
        let Some(run_id) = &summary.identity.run_id else {
            return;
        };
        let row = self.run_row(run_id, summary.timestamp);
        if !row.registered {
            row.run.started_at = row.run.started_at.min(summary.timestamp);
        }
    }

    fn run_row(&mut self, run_id: &str, at: f64) -> &mut RunRow {
        self.runs.entry(run_id.to_owned()).or_insert_with(|| {
            self.made += 1;
            let run = Run {
                run_id: run_id.to_owned(),
                started_at: at,
                ended_at: None,
                metadata: Json::empty_object(),
            };
            RunRow {
                run,
                made: self.made,
                registered: false,
            }
        })
    }

    /// Gives how many traces a deletion deleted.
    fn change(&mut self, change: &Change) -> Option<u64> {
        match change {
            Change::PutSession {
                session_id,
                run_id,
                metadata,
                sampling_params,
                at,
            } => {
                self.put_session(session_id, run_id.as_deref(), metadata.as_ref(), *at);
                if let Some(params) = sampling_params {
                    self.sampling_params
                        .insert(session_id.clone(), params.clone());
                }
                None
            }
            Change::DeleteSessions { session_ids, scope } => {
                let ids = session_ids.iter();
                Some(ids.map(|session_id| self.delete(session_id, scope)).sum())
            }
            Change::StartRun {
                run_id,
                metadata,
                at,
            } => {
                let row = self.run_row(run_id, *at);
                row.registered = true;
                row.run.metadata = metadata.clone();
                row.run.ended_at = None;
                None
            }
            Change::EndRun { run_id, at } => {
                if let Some(row) = self.runs.get_mut(run_id) {
                    row.run.ended_at = Some(*at);
                }
                None
            }
        }
    }

    fn put_session(
        &mut self,
        session_id: &str,
        run_id: Option<&str>,
        metadata: Option<&Json>,
        at: f64,
    ) {
        self.bind(session_id, run_id);
        if run_id.is_some() || self.session_runs(session_id).next().is_none() {
            self.session_row(session_id, run_id, at);
        }
        let Some(metadata) = metadata else { return };
        let runs: Vec<_> = self.session_runs(session_id).cloned().collect();
        for run in runs {
            if run_id.is_none_or(|run_id| run == run_id) {
                let row = self.sessions.get_mut(&(session_id.to_owned(), run));
                row.expect("it was found").session.metadata = metadata.clone();
            }
        }
    }

    fn delete(&mut self, session_id: &str, scope: &Scope) -> u64 {
        let doomed: Vec<_> = self
            .of_session(session_id)
            .filter(|trace| scope.includes(trace.summary.identity.run_id.as_deref()))
            .map(|trace| (trace.stored.arrival_seq, trace.stored.commit_seq))
            .collect();
        for (arrival_seq, commit_seq) in &doomed {
            let trace = self
                .traces
                .remove(commit_seq)
                .expect("the index names traces that exist");
            self.by_id.remove(&trace.summary.trace_id);
            self.by_session
                .remove(&(session_id.to_owned(), *arrival_seq, *commit_seq));
        }
        let runs: Vec<_> = self.session_runs(session_id).cloned().collect();
        for run in runs.into_iter().filter(|run| scope.includes(Some(run))) {
            self.sessions.remove(&(session_id.to_owned(), run));
        }
        if self.session_runs(session_id).next().is_none() {
            self.sampling_params.remove(session_id);
        }
        doomed.len() as u64
    }

    /// The runs of a session, `""` for none.
    fn session_runs(&self, session_id: &str) -> impl Iterator<Item = &String> {
        self.rows_of(session_id).map(|(run, _)| run)
    }

    /// The rows of a session, by run.
    fn rows_of(&self, session_id: &str) -> impl Iterator<Item = (&String, &SessionRow)> {
        let first = (session_id.to_owned(), String::new());
        let rows = self.sessions.range(first..);
        rows.take_while(move |((id, _), _)| id == session_id)
            .map(|((_, run), row)| (run, row))
    }

    /// The traces of a session in the order of arrival.
    pub(super) fn of_session(&self, session_id: &str) -> impl Iterator<Item = &Trace> {
        let first = (session_id.to_owned(), 0, 0);
        let last = (session_id.to_owned(), u64::MAX, u64::MAX);
        self.by_session
            .range(first..=last)
            .map(|(_, _, commit_seq)| &self.traces[commit_seq])
    }

    /// All sessions, newest first.
    pub(super) fn sessions(&self) -> Vec<&Session> {
        newest_first(self.sessions.values())
    }

    /// The rows of one session, newest first.
    pub(super) fn session(&self, session_id: &str) -> Vec<&Session> {
        newest_first(self.rows_of(session_id).map(|(_, row)| row))
    }

    pub(super) fn runs_newest_first(&self) -> impl Iterator<Item = &Run> {
        let mut rows: Vec<_> = self.runs.values().collect();
        rows.sort_by(|a, b| {
            b.run
                .started_at
                .total_cmp(&a.run.started_at)
                .then(b.made.cmp(&a.made))
        });
        rows.into_iter().map(|row| &row.run)
    }
}

fn newest_first<'a>(rows: impl Iterator<Item = &'a SessionRow>) -> Vec<&'a Session> {
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by(|a, b| {
        let by_time = b.session.created_at.total_cmp(&a.session.created_at);
        by_time.then(b.made.cmp(&a.made))
    });
    rows.into_iter().map(|row| &row.session).collect()
}
