//! The start of a gateway, and what an earlier one has left to it.

use gateway_store::LedgerOptions;

use super::*;

#[tokio::test]
async fn sampling_params_are_there_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn TraceStore> = Arc::new(MemoryStore::new());
    let options = LedgerOptions::new(folder.path());
    let ledger = Ledger::open(options, Arc::clone(&store)).unwrap();
    let put = Change::PutSession {
        session_id: "s".to_owned(),
        run_id: None,
        metadata: None,
        sampling_params: Some(Json::new(r#"{"temperature":0.10,"top\u005fp":1e0}"#).unwrap()),
        at: 1.0,
    };
    ledger.change(put).await.unwrap();

    let state = State::new(gateway_state::Live::default(), "0");
    restore_sampling_params(&ledger, &*store, &state)
        .await
        .unwrap();
    let params = state.sampling().find("s").unwrap();
    let params: Vec<_> = params.iter().collect();
    assert_eq!(params, [("temperature", "0.10"), ("top_p", "1e0")]);
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn the_port_is_taken_before_any_file_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = Config {
        port: taken.local_addr().unwrap().port(),
        db_path: folder.path().join("gateway.db"),
        ..Config::default()
    };
    let error = App::start(&config, Reload::default(), Stop::default())
        .await
        .err()
        .unwrap();
    assert!(matches!(error, StartError::Listen { .. }), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn an_end_that_was_asked_for_during_the_start_is_not_forgotten() {
    let config = Config {
        port: 0,
        store: StoreKind::Memory,
        ..Config::default()
    };
    let stop = Stop::default();
    stop.request();
    App::start(&config, Reload::default(), stop)
        .await
        .unwrap()
        .run()
        .await
        .unwrap();
}
