//! Which upstream serves a call: routes by model, the sticky worker choice, and worker health; pure.
