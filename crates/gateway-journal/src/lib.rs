//! An append-only, checksummed, group-synced journal of opaque entries in re-used segments.
