//! The server that the SockJS protocol suite expects: `sockjs_echo PORT [ADDRESS]`.
//!
//! | path | what |
//! | --- | --- |
//! | `/echo` | sends every message back; streaming answers end after 4096 octets |
//! | `/disabled_websocket_echo` | the same without WebSocket |
//! | `/cookie_needed_echo` | the same with the load balancer cookie |
//! | `/close` | closes each connection at once |

mod apps;

use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use stampede::config::sockjs::SockJsConfig;
use stampede::transport::websocket::WsSettings;
use stampede::transport::{Body, Endpoint, HttpSettings, serve_http};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::apps::App;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().ok_or("usage: sockjs_echo PORT [ADDRESS]")?.parse()?;
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1".into());
    let listener = TcpListener::bind((address.as_str(), port)).await?;
    writeln!(std::io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    let endpoints: Arc<[Arc<Endpoint<App>>]> = endpoints().into();
    loop {
        let (stream, peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let endpoints = Arc::clone(&endpoints);
        tokio::spawn(serve_http(stream, HttpSettings::default(), CancellationToken::new(), move |request| {
            let endpoint = endpoints.iter().find(|endpoint| endpoint.claims(request.uri().path())).cloned();
            async move {
                match endpoint {
                    Some(endpoint) => endpoint.handle(request, peer).await,
                    None => {
                        let mut missing = hyper::Response::new(Body::Empty);
                        *missing.status_mut() = http::StatusCode::NOT_FOUND;
                        missing
                    }
                }
            }
        }));
    }
}

fn endpoints() -> Vec<Arc<Endpoint<App>>> {
    let echo = SockJsConfig { stream_bytes_limit: 4096, allowed_origins: vec!["*".into()], ..SockJsConfig::default() };
    let silent = SockJsConfig { web_socket_enabled: false, ..echo.clone() };
    let cookie = SockJsConfig { session_cookie_needed: true, ..echo.clone() };
    [
        ("/echo", echo.clone(), App::Echo),
        ("/disabled_websocket_echo", silent, App::Echo),
        ("/cookie_needed_echo", cookie, App::Echo),
        ("/close", echo, App::Close),
    ]
    .map(|(path, config, app)| Arc::new(Endpoint::new(path, config, WsSettings::default(), Arc::new(app))))
    .into()
}
