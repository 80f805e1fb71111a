//! Many sessions at once.

use std::collections::HashSet;

use gateway_tests::{End, Gateway, Upstream, chat, vllm};

use crate::{say, say_streamed, spelt};

#[tokio::test]
async fn two_hundred_sessions_at_once_each_find_their_own_traces() {
    const SESSIONS: usize = 200;
    const TURNS: usize = 4;
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let address = gateway.address();
    let agents: Vec<_> = (0..SESSIONS)
        .map(|agent| {
            tokio::spawn(async move {
                let session = format!("agent-{agent}");
                let mut ids = Vec::new();
                for turn in 0..TURNS {
                    let message = format!("session {agent} turn {turn} with some more words");
                    let streamed = (agent + turn) % 2 == 0;
                    let body = if streamed {
                        say_streamed(&message)
                    } else {
                        say(&message)
                    };
                    let reply = chat(address, &session, body).await.expect(200);
                    let content = if streamed {
                        assert_eq!(reply.end, End::Whole);
                        spelt(&reply.text())
                    } else {
                        let content = &reply.json()["choices"][0]["message"]["content"];
                        content.as_str().expect("text").to_owned()
                    };
                    assert_eq!(content, vllm::answer_to(&message));
                    ids.push(reply.trace_id().to_owned());
                }
                ids
            })
        })
        .collect();
    let mut seen = HashSet::new();
    for (agent, task) in agents.into_iter().enumerate() {
        let ids = task.await.expect("the agent got through");
        let session = format!("agent-{agent}");
        let traces = gateway.traces(&session).await;
        // In the order of the calls, each once, each under its own session.
        let listed: Vec<_> = traces
            .iter()
            .map(|trace| trace["trace_id"].as_str())
            .collect();
        let expected: Vec<_> = ids.iter().map(|id| Some(id.as_str())).collect();
        assert_eq!(listed, expected, "{session}");
        for (turn, trace) in traces.iter().enumerate() {
            let message = format!("session {agent} turn {turn} with some more words");
            assert_eq!(trace["session_id"], session.as_str());
            assert_eq!(trace["messages"][0]["content"], message.as_str());
            let answer = vllm::answer_to(&message);
            assert_eq!(trace["response_message"]["content"], answer.as_str());
            assert_eq!(trace["outcome"], "completed");
        }
        seen.extend(ids);
    }
    assert_eq!(seen.len(), SESSIONS * TURNS);
    assert_eq!(upstream.received().len(), SESSIONS * TURNS);
}
