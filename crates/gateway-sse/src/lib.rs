//! Server-sent events, bytes to events and back, incrementally and for any split.
