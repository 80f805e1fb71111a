//! Whose call is it: identity from headers, body and path, merged by precedence, and what to strip.
