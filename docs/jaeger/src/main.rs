//! Serves Jaeger's UI on http://127.0.0.1:16686 and receives traces at the same
//! address by OTLP over HTTP. `/picture/` shows a trace with its first miss and
//! its first hit expanded.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::{get, post};
use otlp_embedded::proto::collector::trace::v1::ExportTraceServiceRequest;
use otlp_embedded::proto::common::v1::any_value::Value;
use otlp_embedded::proto::common::v1::{AnyValue, KeyValue};
use otlp_embedded::{Config, State, TraceService, TraceServiceImpl, ui_app};
use prost::Message;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let state = State::new(Config { max_length: 100, max_memory_usage: 1 << 27 });
    let service = Arc::new(TraceServiceImpl::new(Arc::clone(&state)));
    let receive = async move |body: Bytes| {
        let mut request = ExportTraceServiceRequest::decode(body).map_err(|_| StatusCode::BAD_REQUEST)?;
        name_events(&mut request);
        let received = service.export(tonic::Request::new(request)).await;
        received.map(drop).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
    };
    let picture = async || Html(include_str!("picture.html"));
    let app = Router::new()
        .route("/v1/traces", post(receive))
        .route("/picture/{trace}", get(picture))
        .merge(ui_app(state, "/"));
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:16686").await?, app).await
}

/// Puts the name of each event in front of its attributes, where Jaeger's own collector puts it.
fn name_events(request: &mut ExportTraceServiceRequest) {
    let scopes = request.resource_spans.iter_mut().flat_map(|spans| &mut spans.scope_spans);
    for event in scopes.flat_map(|scope| &mut scope.spans).flat_map(|span| &mut span.events) {
        let name = AnyValue { value: Some(Value::StringValue(event.name.clone())) };
        event.attributes.insert(0, KeyValue { key: "event".to_owned(), value: Some(name) });
    }
}
