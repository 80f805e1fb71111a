//! Presented credential to allowed role or refusal, in constant time; the masked secret type.
