//! The TraceStore trait, its contract suite, the memory store, and the ledger that carries calls from journal to store.
