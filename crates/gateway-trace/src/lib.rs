//! The TraceRecord: request and reply bytes to one exact record, whole or streamed, without I/O or clock.
