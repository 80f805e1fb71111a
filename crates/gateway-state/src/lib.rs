//! What both planes share while running: live settings, workers and their load, sessions, weight version, counters.
