//! What the README shows is what happens.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::support::process::{example, output};

const README: &str = include_str!("../../README.md");
const SERVERS: &str = include_str!("../../runtime/docs/guide/servers.md");
const TELEMETRY: &str = include_str!("../../runtime/docs/guide/telemetry.md");

const ENTRIES: &str = include_str!("../../runtime/docs/guide/entries.md");

/// Without what differs from run to run: durations, and the width they take.
fn lasting(text: &str) -> Vec<String> {
    let duration = |word: &&str| {
        let unit = word.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        unit.len() < word.len() && ["ns", "µs", "ms", "s"].contains(&unit)
    };
    let line = |line: &str| line.split_whitespace().filter(|word| !duration(word)).collect::<Vec<_>>().join(" ");
    text.lines().map(line).filter(|line| !line.is_empty()).collect()
}

#[test]
fn the_examples_output_is_the_real_one() {
    let shown = README.split("$ cargo run --example fibonacci\n").nth(1).and_then(|rest| rest.split("```").next());
    assert_eq!(lasting(&output(&mut example("fibonacci"))), lasting(shown.unwrap()));
}

#[test]
fn the_built_documentation_shows_the_readmes_picture() {
    let text = include_str!("../../runtime/docs/jaeger.md");
    let picture = text.trim_end().strip_prefix("[jaeger]: data:image/png;base64,").unwrap();
    assert!(BASE64_STANDARD.decode(picture).unwrap() == include_bytes!("../../docs/jaeger.png"));
    assert!(README.contains("[jaeger]: docs/jaeger.png"));
}

/// Built documentation and the registry's page have no files beside them.
#[test]
fn the_readme_links_to_no_file_but_the_picture() {
    let links = README.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
    let relative: Vec<&str> = links.filter(|link| !link.starts_with('#') && !link.contains("://")).collect();
    assert_eq!(relative, [""; 0]);
}

#[test]
fn every_variable_of_the_environment_is_in_the_guide() {
    let environment = include_str!("../../runtime/src/config/environment.rs");
    let table = environment.split("const VARIABLES").nth(1).and_then(|rest| rest.split("\n];").next()).unwrap();
    let named = table.split('"').filter(|text| text.starts_with("MEMCACHED_") && !text.contains(' '));
    let names: Vec<&str> = named.collect();
    assert!(names.contains(&"MEMCACHED_SERVERS"), "{names:?}");
    for variable in names {
        assert!(SERVERS.contains(&format!("| `{variable}` |")), "{variable}");
    }
}

#[test]
fn every_argument_of_the_attribute_is_in_the_readme() {
    let source = include_str!("../../macros/src/argument.rs");
    let table = source.split("\narguments! {").nth(1).and_then(|rest| rest.split("\n}").next()).unwrap();
    let names: Vec<&str> = table.lines().filter_map(|row| row.split('"').nth(1)).collect();
    assert!(names.contains(&"key") && names.contains(&"crate"), "{names:?}");
    for name in names {
        assert!(README.contains(&format!("| `{name}` |")) || README.contains(&format!("| `{name}(")), "{name}");
    }
}

#[test]
fn every_metric_is_in_the_guide_and_has_a_public_name() {
    let names = include_str!("../../runtime/src/telemetry/names.rs");
    let named = names.split("pub mod metrics {").nth(1).unwrap().split('"').skip(1).step_by(2);
    let table = TELEMETRY.split("| metric | kind, unit | attributes |").nth(1).unwrap();
    let rows = table.lines().skip(2).map_while(|row| row.strip_prefix("| `")?.split('`').next());
    let (mut named, mut rows): (Vec<_>, Vec<_>) = (named.collect(), rows.collect());
    named.sort_unstable();
    rows.sort_unstable();
    assert!(named.len() > 8);
    assert_eq!(named, rows);
}

#[test]
fn the_guides_service_is_part_of_the_example() {
    let example = include_str!("../../examples/axum_service.rs");
    let shown = ENTRIES.split("use axum::Router;").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let shown = shown.lines().map(str::trim).filter(|line| !line.starts_with("use "));
    let other: Vec<_> = shown.filter(|shown| !example.lines().any(|line| line.trim() == *shown)).collect();
    assert_eq!(other, [""; 0]);
}
