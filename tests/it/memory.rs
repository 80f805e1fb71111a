//! Memory: what sessions leave behind.

use std::net::SocketAddr;

use gateway_tests::{Client, Gateway, Upstream};
use serde_json::json;

/// Agents at a time.
const AGENTS: usize = 16;

/// Sessions of a round.
const ROUND: usize = 500;

/// Rounds in which the allocator and the caches of the database come to rest.
const WARM_UP: usize = 2;

/// What the allocator may need in the end beyond that, in bytes, whatever it served.
const SLACK: usize = 3 << 20;

/// What a session may leave behind, in bytes: less than anything that knows its id.
const PER_SESSION: usize = 32;

/// The gateway's resident memory in bytes.
fn resident(gateway: &Gateway) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid()));
    let status = status.expect("the gateway runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: usize = kib.expect("a size").trim().parse().expect("a size");
    kib * 1024
}

/// Creates, uses and deletes the sessions of one agent.
async fn live_and_die(address: SocketAddr, sessions: Vec<String>) {
    let mut client = Client::connect(address).await;
    let padding = "a word ".repeat(500);
    for session in &sessions {
        let made = json!({"session_id": session, "metadata": {"padding": padding},
            "sampling_params": {"temperature": 0.5, "padding": padding}});
        client
            .request("POST /sessions", &[], made.to_string())
            .await;
        client.reply().await.expect(200);
        let id = format!("x-rllm-session-id: {session}");
        let body = json!({"model": "tiny", "metadata": {"padding": padding},
            "messages": [{"role": "user", "content": "hi"}]});
        client
            .request("POST /v1/chat/completions", &[&id], body.to_string())
            .await;
        client.reply().await.expect(200);
    }
    let (first, second) = sessions.split_at(sessions.len() / 2);
    for session in first {
        client
            .request(&format!("DELETE /sessions/{session}"), &[], "")
            .await;
        assert_eq!(client.reply().await.expect(200).json()["deleted"], 1);
    }
    let batch = json!({"session_ids": second}).to_string();
    client
        .request("POST /sessions/batch_delete", &[], batch)
        .await;
    assert_eq!(
        client.reply().await.expect(200).json()["deleted"],
        second.len()
    );
}

/// So many sessions, all of which are gone afterwards.
async fn round(gateway: &Gateway, upstream: &Upstream, number: usize) {
    let agents: Vec<_> = (0..AGENTS)
        .map(|agent| {
            let names = (agent..ROUND).step_by(AGENTS);
            let sessions = names.map(|session| format!("round-{number}/session:{session}"));
            tokio::spawn(live_and_die(gateway.address(), sessions.collect()))
        })
        .collect();
    for agent in agents {
        agent.await.expect("the agent got through");
    }
    upstream.forget();
    assert_eq!(gateway.get("/sessions").await, json!([]));
    assert_eq!(gateway.get("/traces/count").await, json!({"count": 0}));
    assert_eq!(gateway.get("/admin/workers").await[0]["load"], 0);
}

/// Sessions that were never deleted leaked for ever, and deleted ones in part. The short form finds
/// what holds a session's params or bodies, `cargo xtask soak` what holds so much as its id.
#[tokio::test]
async fn defect_27_sessions_that_were_deleted_leave_no_memory_behind() {
    let rounds = std::env::var("GATEWAY_MEMORY_ROUNDS");
    let rounds = rounds.map_or(4, |rounds| rounds.parse().expect("a number"));
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    for number in 0..WARM_UP {
        round(&gateway, &upstream, number).await;
    }
    let before = resident(&gateway);
    for number in 0..rounds {
        round(&gateway, &upstream, WARM_UP + number).await;
    }
    let after = resident(&gateway);
    let allowed = SLACK + PER_SESSION * ROUND * rounds;
    let kib = |bytes: usize| bytes / 1024;
    println!("{} KiB before, {} KiB after", kib(before), kib(after));
    assert!(
        after <= before + allowed,
        "{} KiB more for {} sessions",
        kib(after - before),
        ROUND * rounds,
    );
}
