//! What calls of one session are to each other: which extends which, what they say together, and
//! whether all of them are there.

mod compact;
mod earlier;
mod expand;
mod keys;
mod kin;
mod report;
mod same;
pub(crate) mod schema;

pub(crate) use same::same;

pub use compact::Compact;
pub use expand::{ExpandError, expand};
pub use keys::{CallKeys, LineKeys, keys};
pub use kin::Kin;
pub use report::{PrefixBreak, ReportBuilder, SessionReport, Verdict};
