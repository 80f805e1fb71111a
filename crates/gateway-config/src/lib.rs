//! File, environment and flags to one validated configuration, secrets masked.
