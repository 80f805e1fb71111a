//! Moving over from the Python gateway, and the check of a database file.

use std::fs;
use std::path::{Path, PathBuf};

use gateway_tests::{Gateway, Setup, Upstream, eventually, vllm};
use rusqlite::{Connection, OpenFlags, params};
use serde_json::{Value, json};

use crate::say;
use crate::terminal::{Ran, command, run};

/// A database as the Python gateway's `user_version` 2 lays it out.
fn old_database(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("a new database");
    connection
        .execute_batch(
            "PRAGMA user_version = 2;
            CREATE TABLE traces (trace_id TEXT PRIMARY KEY, data TEXT NOT NULL,
                created_at REAL NOT NULL, session_id TEXT NOT NULL DEFAULT '',
                run_id TEXT NOT NULL DEFAULT '', model TEXT NOT NULL DEFAULT '', harness TEXT,
                latency_ms INTEGER NOT NULL DEFAULT 0, has_error INTEGER NOT NULL DEFAULT 0,
                step_id INTEGER);
            CREATE INDEX idx_traces_time ON traces(created_at DESC);
            CREATE TABLE trace_sessions (trace_id TEXT NOT NULL, session_id TEXT NOT NULL,
                run_id TEXT NOT NULL DEFAULT '', created_at REAL NOT NULL,
                PRIMARY KEY (trace_id, session_id));
            CREATE TABLE runs (run_id TEXT PRIMARY KEY, started_at REAL NOT NULL, ended_at REAL,
                metadata TEXT NOT NULL DEFAULT '{}');",
        )
        .expect("the tables");
    connection
}

fn put(connection: &Connection, session_id: &str, run_id: &str, at: f64, record: &Value) {
    let trace_id = record["trace_id"].as_str().expect("an id");
    connection
        .execute(
            "INSERT INTO traces (trace_id, data, created_at, session_id, run_id)
                VALUES (?, ?, ?, ?, ?)",
            params![trace_id, record.to_string(), at, session_id, run_id],
        )
        .expect("a trace");
    connection
        .execute(
            "INSERT INTO trace_sessions VALUES (?, ?, ?, ?)",
            params![trace_id, session_id, run_id, at],
        )
        .expect("its session");
}

/// The record of a turn whose prompt is all that was said before.
fn turn(session_id: &str, number: u32) -> Value {
    let mut messages = Vec::new();
    for before in 0..number {
        messages.push(json!({"role": "user", "content": format!("question {before}")}));
        messages.push(json!({"role": "assistant", "content": format!("answer {before}")}));
    }
    messages.push(json!({"role": "user", "content": format!("question {number}")}));
    json!({
        "trace_id": format!("{session_id}-{number}"), "session_id": session_id, "model": "tiny",
        "messages": messages, "prompt_token_ids": [1, 2, number], "finish_reason": "stop",
        "response_message": {"role": "assistant", "content": format!("answer {number}")},
        "completion_token_ids": [7, number], "logprobs": [-0.5, -0.25], "latency_ms": 12.5,
        "token_counts": {"prompt": 3, "completion": 2}, "timestamp": 1_700_000_000.5,
        "metadata": {}, "raw_request": {"model": "tiny", "messages": messages},
        "raw_response": null, "harness": "codex", "step_id": number,
    })
}

fn import(setup: &Setup, old: &Path) -> Ran {
    let database = setup.database();
    let database = database.to_str().expect("a text");
    run(&mut command(&[
        "import",
        old.to_str().expect("a text"),
        "--db-path",
        database,
    ]))
}

fn check(path: &Path) -> Ran {
    run(&mut command(&["check", path.to_str().expect("a text")]))
}

fn old_path(setup: &Setup) -> PathBuf {
    setup.database().with_file_name("old.db")
}

#[tokio::test]
async fn an_old_database_is_served_as_it_was() {
    let setup = Setup::new();
    let path = old_path(&setup);
    let connection = old_database(&path);
    for number in 0..3 {
        put(
            &connection,
            "org/s:0",
            "r",
            1000.0 + f64::from(number),
            &turn("org/s:0", number),
        );
    }
    put(&connection, "other", "", 1001.5, &turn("other", 0));
    let sql =
        "INSERT INTO runs VALUES ('r', 900.5, 1100.5, '{\"lr\": 1.0}'), ('idle', 1.0, NULL, '{}')";
    connection.execute_batch(sql).expect("runs");
    connection.close().expect("it closes");
    let before = fs::read(&path).expect("a file");

    let said = import(&setup, &path).good();
    assert_eq!(
        said,
        "traces imported: 4, already there: 0, unreadable: 0; runs: 2\n"
    );
    let again = import(&setup, &path).good();
    assert_eq!(
        again,
        "traces imported: 0, already there: 4, unreadable: 0\n"
    );
    assert!(
        fs::read(&path).expect("a file") == before,
        "the old file was touched"
    );
    let sound = check(&setup.database()).good();
    assert!(
        sound.ends_with(" is sound: traces: 4, sessions: 2, schema version 2\n"),
        "{sound}"
    );

    let upstream = Upstream::start(vllm::reply);
    let gateway = setup.worker(&upstream).start();
    let traces = gateway.get("/sessions/org%2Fs:0/traces?run_id=r").await;
    assert_eq!(traces.as_array().map(Vec::len), Some(3));
    for number in 0..3 {
        let trace = &traces[number as usize];
        for (name, value) in turn("org/s:0", number).as_object().expect("an object") {
            assert_eq!(&trace[name], value, "{name} of turn {number}");
        }
        assert_eq!(trace["lineage_id"], "org/s:0#0");
        assert_eq!(trace["run_id"], "r");
    }
    assert_eq!(traces[2]["parent_trace_id"], "org/s:0-1");
    let report = gateway.get("/sessions/org%2Fs:0/report?run_id=r").await;
    assert_eq!(report["verdict"], "complete", "{report}");
    let run = gateway.get("/runs/r").await;
    assert_eq!(
        (&run["started_at"], &run["ended_at"], &run["metadata"]),
        (&json!(900.5), &json!(1100.5), &json!({"lr": 1.0}))
    );
    // A session goes on where it was.
    gateway.chat("other", say("question 1")).await;
    let traces = gateway.traces("other").await;
    assert_eq!(traces.len(), 2);
    assert_eq!(traces[0]["trace_id"], "other-0");
}

#[tokio::test]
async fn a_database_that_is_served_is_in_use() {
    let upstream = Upstream::start(vllm::reply);
    let gateway = Gateway::over(&upstream);
    let path = old_path(gateway.setup());
    put(&old_database(&path), "s", "", 1.0, &turn("s", 0));
    import(gateway.setup(), &path).fails(1, &["is in use by another gateway"]);
    assert_eq!(gateway.traces("s").await.len(), 0);
    gateway.chat("s", say("hi")).await;
    assert_eq!(gateway.traces("s").await.len(), 1);
    // To check it is another matter.
    let sound = check(&gateway.setup().database()).good();
    assert!(
        sound.contains(" is sound: traces: 1, sessions: 1"),
        "{sound}"
    );
    drop(gateway);
}

/// Killed once, wherever it is then, and run again: everything is there once, and nothing is half.
#[tokio::test]
async fn an_import_that_was_killed_is_finished_by_the_next() {
    let setup = Setup::new();
    let path = old_path(&setup);
    let connection = old_database(&path);
    connection.execute_batch("BEGIN").expect("a transaction");
    for number in 0..3000 {
        let session = format!("s{}", number % 7);
        let mut record = turn(&session, number / 7 % 3);
        record["trace_id"] = json!(format!("t{number}"));
        put(&connection, &session, "r", f64::from(number), &record);
    }
    connection.execute_batch("COMMIT").expect("it is written");
    connection.close().expect("it closes");

    let database = setup.database();
    let [old, new] = [&path, &database].map(|path| path.to_str().expect("a text"));
    let mut import_once = command(&["import", old, "--db-path", new]);
    let mut child = import_once.spawn().expect("it starts");
    let stored = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let connection = Connection::open_with_flags(&database, flags).ok()?;
        let sql = "SELECT count(*) FROM traces";
        connection
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .ok()
    };
    let begun = eventually("some traces", async || stored().filter(|count| *count > 0)).await;
    child.kill().expect("our own child");
    child.wait().expect("our own child");
    assert!(begun < 3000, "it was done before it could be killed");

    let said = import(&setup, &path).good();
    let numbers: Vec<u64> = said
        .split(|character: char| !character.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect();
    assert_eq!(numbers[0] + numbers[1], 3000, "{said}");
    assert!(numbers[1] > 0 && numbers[2] == 0, "{said}");
    let sound = check(&database).good();
    assert!(sound.contains("traces: 3000, sessions: 7"), "{sound}");

    let gateway = setup.start();
    for session in 0..7 {
        let traces = gateway.traces(&format!("s{session}")).await;
        let ids: Vec<_> = traces
            .iter()
            .map(|trace| trace["trace_id"].clone())
            .collect();
        let expected = (0..3000).filter(|number| number % 7 == session);
        let expected: Vec<_> = expected.map(|number| json!(format!("t{number}"))).collect();
        assert_eq!(ids, expected);
        assert!(traces.iter().all(|trace| trace["outcome"] == "completed"));
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_named_and_hides_nothing() {
    let setup = Setup::new();
    let path = old_path(&setup);
    let connection = old_database(&path);
    put(&connection, "s", "", 1.0, &turn("s", 0));
    put(&connection, "s", "", 4.0, &turn("s", 1));
    let mut chained = turn("chained", 0);
    chained["prompt_delta_token_ids"] = json!([4]);
    put(&connection, "chained", "", 5.0, &chained);
    let sql = r#"INSERT INTO traces (trace_id, data, created_at) VALUES
        ('broken', '{"trace_id": "bro', 2.0), (x'00', '{}', 3.0)"#;
    connection.execute_batch(sql).expect("odd rows");
    let sql = "INSERT INTO trace_sessions VALUES ('broken', 's', '', 2.0)";
    connection.execute_batch(sql).expect("its session");
    drop(connection);
    for (imported, known, unreadable) in [
        (4, 0, "2; kept as their text: broken; left behind: row 5"),
        (0, 4, "1; left behind: row 5"),
    ] {
        let ran = import(&setup, &path);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert_eq!(
            ran.stdout,
            format!(
                "traces imported: {imported}, already there: {known}, unreadable: {unreadable}\n"
            )
        );
        assert!(ran.stderr.contains("row 5"), "{ran:?}");
    }
    let gateway = setup.start();
    let traces = gateway.traces("s").await;
    let outcomes: Vec<_> = traces
        .iter()
        .map(|trace| trace["outcome"].clone())
        .collect();
    assert_eq!(outcomes, ["completed", "upstream_error", "completed"]);
    assert_eq!(
        traces[1]["raw_response"],
        json!({"_body": "{\"trace_id\": \"bro"})
    );
    assert_eq!(traces[1]["error"]["code"], "unreadable_reply");
    let report = gateway.get("/sessions/chained/report").await;
    assert_eq!(report["verdict"], "incomplete");
    let reason = "chained-0: not carried over from the old record: prompt_delta_token_ids";
    assert_eq!(report["reasons"], json!([reason]));
}

#[test]
fn what_is_no_old_database_is_refused_and_makes_nothing() {
    let setup = Setup::new();
    let path = |name: &str| setup.database().with_file_name(name);
    fs::write(path("text"), "x".repeat(500)).expect("a file");
    let foreign = Connection::open(path("foreign")).expect("a database");
    foreign
        .execute_batch("CREATE TABLE notes (id)")
        .expect("a table");
    for (name, words) in [
        ("missing", "cannot open"),
        ("text", "it is not an SQLite database"),
        ("foreign", "belongs to another program"),
    ] {
        let file = path(name);
        import(&setup, &file).fails(1, &[words, name]);
        check(&file).fails(1, &[words, name]);
        assert!(!setup.database().exists(), "{name}");
    }
    let old = old_path(&setup);
    old_database(&old).close().expect("it closes");
    let memory = [
        "import",
        old.to_str().expect("a text"),
        "--db-path",
        "new.db",
    ];
    let mut in_memory = command(&memory);
    run(in_memory.env("RLLM_GATEWAY_STORE", "memory")).fails(2, &["needs a database", "memory"]);
    assert!(!setup.database().exists());
}

#[test]
fn an_old_database_is_not_served_nor_sound_but_told_apart() {
    let setup = Setup::new();
    put(
        &old_database(&setup.database()),
        "s",
        "",
        1.0,
        &turn("s", 0),
    );
    let before = fs::read(setup.database()).expect("a file");
    let hint = format!("`rllm-model-gateway import {}`", setup.database().display());
    setup.fail().says(1, &["written by the Python", &hint]);
    check(&setup.database()).fails(1, &["written by the Python", &hint]);
    import(&setup, &setup.database())
        .fails(1, &["written by the Python", "another file as --db-path"]);
    assert!(
        fs::read(setup.database()).expect("a file") == before,
        "it was touched"
    );
    let beside = fs::read_dir(setup.database().parent().expect("a folder")).expect("a folder");
    let names = beside.map(|entry| entry.expect("an entry").file_name().into_string());
    let names: Vec<_> = names.map(|name| name.expect("a text")).collect();
    assert!(
        names.iter().all(|name| !name.contains("journal")),
        "{names:?}"
    );

    let ours = Setup::new();
    let moved = import(&ours, &setup.database()).good();
    assert!(moved.starts_with("traces imported: 1,"), "{moved}");
    import(&setup, &ours.database()).fails(1, &["is a database of this gateway already"]);
}

#[test]
fn a_damaged_file_is_told_in_one_line() {
    let setup = Setup::new();
    let path = old_path(&setup);
    put(&old_database(&path), "s", "", 1.0, &turn("s", 0));
    import(&setup, &path).good();
    let connection = Connection::open(setup.database()).expect("our database");
    connection
        .execute_batch("DELETE FROM bodies")
        .expect("a loss");
    connection.close().expect("it closes");
    let before = fs::read(setup.database()).expect("a file");
    check(&setup.database()).fails(1, &["is damaged: requests that are missing: 1"]);
    assert!(
        fs::read(setup.database()).expect("a file") == before,
        "it was touched"
    );
}
