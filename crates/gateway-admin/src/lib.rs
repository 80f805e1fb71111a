//! The management plane: sessions, traces, workers, health and flush over HTTP.
