//! A gateway behind TLS.

use std::io::Write as _;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{command, run};

/// A gateway on `localhost` that has no sessions, and its certificate in a file.
fn gateway() -> (u16, tempfile::NamedTempFile) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default TLS versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("a certificate with its key");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("non-blocking");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(serve(listener, acceptor));
    });
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(cert.pem().as_bytes()).expect("written");
    (port, file)
}

async fn serve(listener: std::net::TcpListener, acceptor: TlsAcceptor) {
    let listener = TcpListener::from_std(listener).expect("a listener");
    while let Ok((stream, _)) = listener.accept().await {
        // A client that does not trust the certificate leaves.
        let Ok(mut stream) = acceptor.accept(stream).await else {
            continue;
        };
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let byte = stream.read_u8().await.expect("a request");
            request.push(byte);
        }
        let reply = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]";
        stream.write_all(reply.as_bytes()).await.expect("a reply");
        let _ = stream.shutdown().await;
    }
}

#[test]
fn a_certificate_must_be_trusted() {
    let (port, file) = gateway();
    let url = format!("https://localhost:{port}");
    let sessions = || command(&["sessions", "--json", "--url", &url]);
    let refused = run(&mut sessions());
    refused.fails(1, &["cannot reach", &url, "certificate"]);
    run(sessions().env("SSL_CERT_FILE", file.path())).good();

    let other_name = format!("https://127.0.0.1:{port}");
    let mut command = command(&["sessions", "--url", &other_name]);
    let refused = run(command.env("SSL_CERT_FILE", file.path()));
    refused.fails(1, &["cannot reach", "certificate"]);

    let refused = run(sessions().env("SSL_CERT_FILE", "/no/such/file"));
    refused.fails(1, &["SSL_CERT_FILE"]);
}
