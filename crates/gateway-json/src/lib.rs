//! JSON text as it stands: validated once, walked and spliced without a tree.
