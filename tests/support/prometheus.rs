//! A real Prometheus, where [`Tool::Prometheus`](super::tools::Tool) is there.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::folder::Folder;
use super::memcached::until;
use super::web::{escaped, free_port, visit};

/// A server that scrapes one target, killed when dropped.
pub(crate) struct Prometheus {
    child: Child,
    port: u16,
    _folder: Folder,
}

impl Prometheus {
    pub(crate) fn scraping(target: u16) -> Self {
        let (folder, port) = (Folder::new(), free_port());
        let config = folder.write(
            "prometheus.yml",
            &format!(
                "scrape_configs:\n- job_name: service\n  scrape_interval: 200ms\n  scrape_timeout: 200ms\n  \
                 static_configs: [{{ targets: [\"127.0.0.1:{target}\"] }}]\n"
            ),
        );
        let child = Command::new("prometheus")
            .arg(format!("--config.file={config}"))
            .arg(format!("--storage.tsdb.path={}", folder.path("data")))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus");
        let prometheus = Prometheus { child, port, _folder: folder };
        until("Prometheus to be ready", || visit(port, "/-/ready").ok().filter(|(status, _)| *status == 200));
        prometheus
    }

    /// The series that a query gives, each with its labels and its value.
    pub(crate) fn query(&self, query: &str) -> Vec<(Value, f64)> {
        let path = format!("/api/v1/query?query={}", escaped(query));
        let (_, body) = visit(self.port, &path).expect("Prometheus answers");
        let answer: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(answer["status"], "success", "{query}: {body}");
        let series = answer["data"]["result"].as_array().expect("a vector").iter();
        let value = |series: &Value| series["value"][1].as_str().and_then(|value| value.parse().ok());
        series.map(|series| (series["metric"].clone(), value(series).expect("a number"))).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
