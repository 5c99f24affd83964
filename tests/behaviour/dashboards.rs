//! What is in `dashboards/`, on a real Prometheus that scrapes the example
//! service, whose functions are cached in real servers.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::memcached::Memcached;
use crate::support::process::example;
use crate::support::prometheus::Prometheus;
use crate::support::tools::Tool;
use crate::support::web::{header, put, visit};

/// The example `axum_service`, killed when dropped.
pub(super) struct Service {
    child: Child,
    printed: BufReader<std::process::ChildStdout>,
    pub(super) port: u16,
}

impl Service {
    pub(super) fn on(servers: &[Memcached]) -> Self {
        let servers: Vec<String> = servers.iter().map(Memcached::address).collect();
        let mut command = example("axum_service");
        command.arg("127.0.0.1:0").env("MEMCACHED_SERVERS", servers.join(","));
        // Callers have to wait for each other, and do so.
        command.env("MEMCACHED_POOL_SIZE", "1").env("MEMCACHED_TIMEOUT", "5s");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the example was built");
        let mut printed = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        printed.read_line(&mut line).unwrap();
        let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok());
        Service { child, printed, port: port.unwrap_or_else(|| panic!("no port in {line:?}")) }
    }

    /// Several callers at once ask for products, each for the same ones twice.
    fn ask(&self, ids: std::ops::Range<u32>) {
        let ask = |id: u32| visit(self.port, &format!("/product/{id}")).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for id in ids.clone() {
                        assert_eq!(ask(id), (200, format!("{id}: teapot {id}\n")));
                        assert_eq!(ask(id).0, 200);
                    }
                });
            }
        });
    }

    /// Asks it to end; what it says then.
    fn stop(mut self) -> String {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(asked.is_ok_and(|status| status.success()));
        let mut rest = String::new();
        self.printed.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success(), "{rest}");
        rest
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The dashboard's queries with the titles of their panels.
fn queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(include_str!("../../dashboards/memocached.json")).unwrap();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{title} says nothing");
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap().replace("$__rate_interval", "1m");
            let query = query.replace("$job", ".*").replace("$instance", ".*");
            queries.push((title.to_owned(), query));
        }
    }
    queries
}

#[test]
fn the_service_answers_for_several_products_and_shows_no_old_name() {
    let servers = [Memcached::start()];
    let service = Service::on(&servers);
    let outcome = |path: &str| header(service.port, path, "x-cache").unwrap().unwrap_or_default();
    assert_eq!(outcome("/product/7"), "miss; absent");
    assert_eq!(visit(service.port, "/products/6,7").unwrap(), (200, "6: teapot 6\n7: teapot 7\n".to_owned()));
    assert_eq!((outcome("/product/6"), outcome("/product/7")), ("hit".to_owned(), "hit".to_owned()));
    assert_eq!(visit(service.port, "/search/samovar").unwrap().1, "[]\n");
    assert_eq!(put(service.port, "/product/7", "samovar").unwrap().0, 200);
    assert_eq!(visit(service.port, "/product/7").unwrap().1, "7: samovar\n");
    assert_eq!(visit(service.port, "/search/samovar").unwrap().1, "[7]\n");
    assert!(service.stop().contains("left undone"));
}

#[test]
fn every_query_of_the_dashboard_has_something_to_show() {
    if !Tool::Prometheus.is_here() {
        return;
    }
    let mut servers = [(); 2].map(|()| Memcached::start());
    let service = Service::on(&servers);
    let prometheus = Prometheus::scraping(service.port);
    let scraped = |query: &str| prometheus.query(query).first().map(|(_, value)| *value);
    let deadline = Instant::now() + Duration::from_secs(90);
    let queries = queries();
    assert!(queries.len() > 18, "{} queries", queries.len());
    let mut calls = 0;
    for round in 0.. {
        service.ask(round * 4..round * 4 + 4);
        calls += 4 * 4 * 2;
        if round == 2 {
            servers[1].kill();
        }
        let shown = |query: &str| prometheus.query(query).iter().any(|(_, value)| value.is_finite());
        let empty: Vec<_> = queries.iter().filter(|(_, query)| !shown(query)).collect();
        if round > 4 && empty.is_empty() {
            break;
        }
        assert!(round < 240 && Instant::now() < deadline, "nothing to show: {empty:#?}");
    }
    for (title, query) in &queries {
        println!("{title}: {:?}", prometheus.query(query));
    }

    // What is shown is what has happened.
    let requests = "sum(memocached_cache_requests_total{cache_name=\"product\"})";
    while scraped(requests) != Some(f64::from(calls)) {
        assert!(Instant::now() < deadline, "{:?} and not {calls} calls", scraped(requests));
        std::thread::sleep(Duration::from_millis(20));
    }
    let all_but_bypassed = "sum(memocached_cache_requests_total{cache_result!=\"bypass\"})";
    let ratio = scraped(&format!("sum(memocached_cache_requests_total{{cache_result=\"hit\"}}) / {all_but_bypassed}"));
    assert!(ratio.is_some_and(|ratio| ratio > 0.0 && ratio < 1.0), "{ratio:?}");
    // A product takes 20 ms to find, and each hit saves that.
    let saved =
        "sum(memocached_compute_saved_seconds_total) / sum(memocached_cache_requests_total{cache_result=\"hit\"})";
    assert!(scraped(saved).is_some_and(|seconds| seconds > 0.019), "{:?}", scraped(saved));
    let up = |server: &Memcached| scraped(&format!("memocached_node_up{{server_port=\"{}\"}}", server.port));
    assert_eq!((up(&servers[0]), up(&servers[1])), (Some(1.0), Some(0.0)));
    // Buckets begin where memcached answers, which is far below a millisecond.
    let fastest = "db_client_operation_duration_seconds_bucket{db_operation_name=\"get\",le=\"0.00001\"}";
    assert!(scraped(fastest).is_some());
    let below_a_millisecond = "db_client_operation_duration_seconds_bucket{db_operation_name=\"get\",le=\"0.001\"}";
    assert!(scraped(below_a_millisecond).is_some_and(|gets| gets > 0.0));

    assert_eq!(visit(service.port, "/search/teapot%201").unwrap().0, 200);
    assert_eq!(visit(service.port, "/product/1000").unwrap().0, 404);
    let report = service.stop();
    assert!(report.contains("product") && report.contains("search"), "{report}");
}

#[test]
fn alerts_go_off_when_they_should() {
    if !Tool::Promtool.is_here() {
        return;
    }
    for check in
        [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"], ["check", "config", "prometheus.yml"]]
    {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/dashboards");
        let output = Command::new("promtool").args(check).current_dir(folder).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{check:?}: {}", String::from_utf8_lossy(&said));
    }
}
