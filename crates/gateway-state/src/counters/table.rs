//! The series by upstream and model: found without a lock, and bounded, because clients choose
//! the names of models.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::Series;
use crate::UpstreamKind;

/// So many upstreams of a kind, and models of an upstream, have series of their own.
const MOST_UPSTREAMS: usize = 128;
const MOST_MODELS: usize = 32;
/// A longer name has none, in bytes.
const LONGEST_NAME: usize = 128;

/// What all others are counted under.
const OTHER: &str = "other";
/// What calls without an upstream, or without a model, are counted under.
const NONE: &str = "none";

#[derive(Debug, Default)]
pub(super) struct Table {
    series: ArcSwap<Kinds>,
    /// Held while a series is added.
    adding: Mutex<()>,
}

/// In the order: none, routes, workers.
type Kinds = [Bounded<Bounded<Arc<Series>, MOST_MODELS>, MOST_UPSTREAMS>; 3];

/// A map from names that takes no more than `MOST` of them, and the others together.
#[derive(Clone, Debug)]
struct Bounded<T, const MOST: usize>(HashMap<Box<str>, T>);

impl<T, const MOST: usize> Default for Bounded<T, MOST> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T, const MOST: usize> Bounded<T, MOST> {
    /// The name under which `name` is counted.
    fn name<'a>(&self, name: &'a str) -> &'a str {
        let room = self.0.len() < MOST && name.len() <= LONGEST_NAME;
        if room || self.0.contains_key(name) {
            name
        } else {
            OTHER
        }
    }

    fn get(&self, name: &str) -> Option<&T> {
        self.0.get(self.name(name))
    }
}

impl Table {
    pub(super) fn get(
        &self,
        upstream: Option<(UpstreamKind, &str)>,
        model: Option<&str>,
    ) -> Arc<Series> {
        let (kind, upstream) = upstream.unzip();
        let upstream = upstream.unwrap_or(NONE);
        let model = model.filter(|model| !model.is_empty()).unwrap_or(NONE);
        let found = find(&self.series.load(), kind, upstream, model);
        found.unwrap_or_else(|| self.add(kind, upstream, model))
    }

    fn add(&self, kind: Option<UpstreamKind>, upstream: &str, model: &str) -> Arc<Series> {
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.series.load();
        if let Some(found) = find(&now, kind, upstream, model) {
            return found;
        }
        let mut kinds = Kinds::clone(&now);
        let upstreams = &mut kinds[place(kind)];
        let upstream = upstreams.name(upstream);
        let models = upstreams.0.entry(upstream.into()).or_default();
        let model = models.name(model);
        let series = Arc::new(Series::new(kind, upstream, model));
        models.0.insert(model.into(), Arc::clone(&series));
        self.series.store(Arc::new(kinds));
        series
    }

    pub(super) fn all(&self) -> Vec<Arc<Series>> {
        let kinds = self.series.load();
        let upstreams = kinds.iter().flat_map(|upstreams| upstreams.0.values());
        let mut all: Vec<_> = upstreams
            .flat_map(|models| models.0.values())
            .map(Arc::clone)
            .collect();
        all.sort_by(|a, b| {
            let key = |series: &Series| place(series.kind);
            (key(a), &a.upstream, &a.model).cmp(&(key(b), &b.upstream, &b.model))
        });
        all
    }
}

fn find(
    kinds: &Kinds,
    kind: Option<UpstreamKind>,
    upstream: &str,
    model: &str,
) -> Option<Arc<Series>> {
    let models = kinds[place(kind)].get(upstream)?;
    models.get(model).map(Arc::clone)
}

fn place(kind: Option<UpstreamKind>) -> usize {
    match kind {
        None => 0,
        Some(UpstreamKind::Route) => 1,
        Some(UpstreamKind::Worker) => 2,
    }
}
