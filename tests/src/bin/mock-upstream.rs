//! The harness's vLLM as a process of its own, for tests in other languages.
//!
//! It prints `listening on http://…` and serves until its stdin ends.
//! `GET /seen` lists what it has received.

use std::io::Read;
use std::sync::{Arc, OnceLock};

use gateway_tests::{Script, Upstream, vllm};
use serde_json::{Value, json};

fn main() {
    let this: Arc<OnceLock<Upstream>> = Arc::default();
    let own = Arc::clone(&this);
    let upstream = Upstream::start(move |request| match request.target() {
        "/seen" => {
            let seen = own.get().map(Upstream::received).unwrap_or_default();
            let seen: Vec<Value> = seen
                .iter()
                .map(|request| {
                    json!({"target": request.target(), "headers": request.headers(),
                           "body": String::from_utf8_lossy(&request.body)})
                })
                .collect();
            Script::json("200 OK", Value::from(seen).to_string())
        }
        _ => vllm::reply(request),
    });
    println!("listening on {}", upstream.url());
    let _ = this.set(upstream);
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
