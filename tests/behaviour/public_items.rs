//! What the crate makes public is what `runtime/public-items.txt` lists.
//!
//! `UPDATE_PUBLIC_ITEMS=1 cargo test --test behaviour -- public_items` writes
//! the list anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the documentation, which lists what is public; returns its folder.
pub(crate) fn documentation() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let target = tests.ancestors().nth(3).expect("target/<profile>/deps/<test>");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo
        .args(["doc", "--quiet", "--workspace", "--no-deps", "--all-features", "--lib", "--example", "fibonacci"])
        .arg("--target-dir")
        .arg(target);
    assert!(cargo.status().unwrap().success(), "the documentation is built");
    target.join("doc/memocached")
}

/// The kind and the path of what a page is about: `struct` and `codec::Json`
/// for `codec/struct.Json.html`.
fn item(page: &str) -> Option<(String, String)> {
    let page = page.strip_suffix(".html")?;
    let (folder, file) = page.rsplit_once('/').map_or(("", page), |(folder, file)| (folder, file));
    let (kind, name) = file.split_once('.')?;
    let path: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).chain([name]).collect();
    Some((kind.to_owned(), path.join("::")))
}

pub(crate) fn between<'a>(text: &'a str, start: &'a str, end: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(start).skip(1).filter_map(move |rest| rest.split(end).next())
}

/// The text in front of the first of these sections.
pub(crate) fn before<'a>(page: &'a str, sections: &[&str]) -> &'a str {
    let begins = sections.iter().filter_map(|section| page.find(&format!("id=\"{section}\"")));
    &page[..begins.min().unwrap_or(page.len())]
}

/// An anchor in words: `From<Item> for RawItem`. The number that tells it from
/// others of the same name is left out.
fn words(anchor: &str) -> String {
    let anchor = anchor.trim_end_matches(|c: char| c.is_ascii_digit()).strip_suffix('-').unwrap_or(anchor);
    let mut pieces = anchor.split('%');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => text = text + &char::from(byte).to_string() + &piece[2..],
            None => text = text + "%" + piece,
        }
    }
    text.replace(['-', '+'], " ")
}

/// What a page tells of an item: its methods, variants, fields and traits.
fn members(page: &str) -> Vec<String> {
    const OWN: [&str; 6] = ["method", "tymethod", "variant", "structfield", "associatedtype", "associatedconstant"];
    let own = before(page, &["foreign-impls", "implementors", "trait-implementations", "synthetic-implementations"]);
    let own = between(own, " id=\"", "\"").filter_map(|anchor| {
        let (kind, name) = anchor.split_once('.')?;
        OWN.contains(&kind).then(|| format!("{} {}", kind.trim_start_matches("ty"), words(name)))
    });
    let traits = before(page, &["synthetic-implementations", "blanket-implementations"]);
    let traits = between(traits, " id=\"impl-", "\"").map(words).filter(|name| name.contains(" for "));
    // The compiler's own, behind `PartialEq`.
    let traits = traits.filter(|name| !name.starts_with("StructuralPartialEq"));
    own.chain(traits.map(|name| format!("impl {name}"))).collect()
}

fn public_items(documentation: &Path) -> BTreeSet<String> {
    let all = fs::read_to_string(documentation.join("all.html")).unwrap();
    let mut items = BTreeSet::new();
    for page in between(&all, "href=\"", "\"").filter(|page| !page.starts_with("..")) {
        let Some((kind, path)) = item(page) else { continue };
        let text = fs::read_to_string(documentation.join(page)).unwrap();
        items.extend(members(&text).into_iter().map(|member| format!("{kind} {path}: {member}")));
        items.insert(format!("{kind} {path}"));
    }
    items
}

#[test]
fn what_is_public_is_listed() {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/public-items.txt");
    let found = public_items(&documentation());
    assert!(found.contains("struct Cache: method builder"), "the documentation can be read: {found:?}");
    if std::env::var_os("UPDATE_PUBLIC_ITEMS").is_some() {
        fs::write(&list, found.into_iter().map(|item| item + "\n").collect::<String>()).unwrap();
        return;
    }
    let listed: BTreeSet<String> = fs::read_to_string(&list).unwrap().lines().map(str::to_owned).collect();
    let come = found.difference(&listed).map(|item| format!("+ {item}\n"));
    let gone = listed.difference(&found).map(|item| format!("- {item}\n"));
    let difference: String = come.chain(gone).collect();
    assert!(
        difference.is_empty(),
        "what is public has changed; if that is meant, run this test with UPDATE_PUBLIC_ITEMS=1:\n{difference}"
    );
}
