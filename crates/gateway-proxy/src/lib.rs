//! The data plane: the forwarder from agents to models, and the tee that records each call.
