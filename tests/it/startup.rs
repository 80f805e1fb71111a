//! Starts that must not happen: one clear line, the right code, no damage.

use std::fs;

use gateway_tests::{Gateway, Setup, Upstream};

use crate::say;

#[test]
fn a_bad_configuration_is_exit_2_and_says_where() {
    let cases: [(&str, &[&str]); 9] = [
        ("wrokers: []", &["wrokers", "workers"]),
        ("port: many", &["port", "gateway.yaml"]),
        ("workers:\n  - url: 'not a url'", &["url"]),
        (
            "workers: [{url: 'http://127.0.0.1:1'}, {url: 'http://127.0.0.1:1'}]",
            &["workers", "same url"],
        ),
        ("routes:\n  m: {auth_header: x}", &["upstream_url"]),
        ("add_logprobs: perhaps", &["add_logprobs"]),
        ("port: 1\n  bad indent: [", &["gateway.yaml"]),
        (
            "inbound_auth_token: ${NOT_SET_ANYWHERE}",
            &["inbound_auth_token", "NOT_SET_ANYWHERE"],
        ),
        ("store_worker: postgres", &["postgres"]),
    ];
    for (yaml, words) in cases {
        let setup = Setup::new().yaml(yaml);
        setup.fail().says(2, words);
        assert!(!setup.database().exists(), "nothing is made: {yaml}");
    }
}

#[test]
fn a_bad_command_line_is_exit_2() {
    let cases: [(&str, &[&str]); 4] = [
        ("--no-such-flag", &["--no-such-flag"]),
        ("--cumulative-token-mode", &["--cumulative-token-mode"]),
        ("--port=70000", &["port"]),
        ("--store=postgres", &["postgres"]),
    ];
    for (argument, words) in cases {
        let failure = Setup::new().argument(argument).fail();
        assert_eq!(failure.code, Some(2), "{failure:?}");
        for word in words {
            assert!(failure.stderr.contains(word), "{word}: {failure:?}");
        }
    }
}

#[test]
fn a_check_prints_the_configuration_without_its_secrets() {
    let checked = Setup::new()
        .yaml("inbound_auth_token: canary-token\nroutes:\n  m:\n    upstream_url: http://127.0.0.1:1/v1\n    auth_header: Bearer canary-key\n    headers: {x-a: canary-header}")
        .argument("--check-config")
        .fail();
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let shown = format!("{}{}", checked.stdout, checked.stderr);
    assert!(shown.contains("http://127.0.0.1:1"), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn version_and_help_need_no_configuration() {
    for (argument, word) in [("--version", "0.1.0"), ("--help", "--db-path")] {
        let shown = Setup::new().argument(argument).fail();
        assert_eq!(shown.code, Some(0), "{shown:?}");
        assert!(shown.stdout.contains(word), "{shown:?}");
    }
}

#[test]
fn a_taken_port_is_exit_1_and_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let setup = Setup::new().argument(format!("--port={port}"));
    setup.fail().says(1, &[&port.to_string()]);
}

#[test]
fn a_damaged_or_foreign_database_is_left_as_it_is() {
    let foreign = |setup: &Setup, pragma: &str| {
        let file = rusqlite::Connection::open(setup.database()).expect("a file");
        let made = file.execute_batch(&format!("CREATE TABLE t (x); {pragma}"));
        made.expect("a database of somebody else");
    };
    type Make<'a> = &'a dyn Fn(&Setup);
    let cases: [(&str, Make<'_>); 3] = [
        ("no database at all", &|setup| {
            fs::write(setup.database(), "this is no database, ".repeat(500)).expect("a file");
        }),
        ("another program's", &|setup| {
            foreign(setup, "PRAGMA application_id = 42");
        }),
        ("nobody's in particular", &|setup| foreign(setup, "")),
    ];
    for (what, make) in cases {
        let setup = Setup::new();
        make(&setup);
        let before = fs::read(setup.database()).expect("the file");
        setup.fail().says(1, &["gateway.db"]);
        let after = fs::read(setup.database()).expect("the file");
        assert!(before == after, "{what}: the file was touched");
    }
}

#[tokio::test]
async fn defect_12_a_database_of_a_newer_schema_is_refused_and_kept() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    gateway.chat("s", say("hi")).await.expect(200);
    gateway.traces("s").await;
    let setup = gateway.kill();
    let version: i64 = {
        let file = rusqlite::Connection::open(setup.database()).expect("the file");
        let version = file.query_row("PRAGMA user_version", [], |row| row.get(0));
        file.execute_batch("PRAGMA user_version = 9999")
            .expect("a pragma");
        version.expect("a version")
    };
    setup.fail().says(1, &["gateway.db"]);
    let file = rusqlite::Connection::open(setup.database()).expect("the file");
    let newer = file.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
    assert_eq!(newer.expect("a version"), 9999);
    let back = file.execute_batch(&format!("PRAGMA user_version = {version}"));
    back.expect("a pragma");
    drop(file);
    assert_eq!(setup.start().traces("s").await.len(), 1);
}

#[tokio::test]
async fn a_second_gateway_on_the_same_file_is_refused_and_the_first_goes_on() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    gateway.chat("s", say("one")).await.expect(200);
    gateway.setup().fail().says(1, &["gateway.db"]);
    gateway.chat("s", say("two")).await.expect(200);
    assert_eq!(gateway.traces("s").await.len(), 2);
}

#[cfg(unix)]
#[tokio::test]
async fn a_second_gateway_on_the_same_file_is_refused_by_whatever_name() {
    use std::os::unix::fs::symlink;

    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    gateway.chat("s", say("one")).await.expect(200);
    let database = gateway.setup().database();
    let linked = Setup::new();
    symlink(&database, linked.database()).expect("a link");
    let hard = Setup::new();
    fs::hard_link(&database, hard.database()).expect("a link");
    let failure = linked.fail();
    failure.says(1, &["gateway.db", "in use by another gateway"]);
    // What the crash leaves in the WAL and in the journal lies beside the first name alone.
    hard.fail().says(1, &["gateway.db", "has another name"]);
    assert_eq!(gateway.traces("s").await.len(), 1);
    let _folder = gateway.kill();
    hard.fail().says(1, &["gateway.db", "has another name"]);
    // The journal is the target's.
    assert_eq!(linked.start().traces("s").await.len(), 1);
    let journal = linked.database().with_extension("db-journal.d");
    assert!(!journal.exists());
}

#[cfg(unix)]
#[tokio::test]
async fn what_is_on_disk_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    gateway.chat("s", say("hi")).await.expect(200);
    gateway.traces("s").await;
    let database = gateway.setup().database();
    let mode = |path: &std::path::Path| {
        let metadata = fs::metadata(path).expect("the file");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode(&database), 0o600);
    let journal = database.with_file_name("gateway.db-journal.d");
    for entry in fs::read_dir(&journal).expect("the journal's folder") {
        let path = entry.expect("an entry").path();
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
    }
}
