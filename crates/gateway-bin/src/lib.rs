//! The rllm-model-gateway executable: flags, wiring and signals.
